"""Processed data, gathered by index in one call, from memory, the device, or a mapped file; and a block of batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flywheel.project.errors import DataError

_DTYPES = {
    "U8": np.uint8, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "F16": np.float16, "F32": np.float32, "F64": np.float64, "BOOL": np.bool_,
}  # fmt: skip

WEIGHT = "weight"
"""The tensor that says how much each row counts in the loss, where there is one."""
_MEASURED_ROWS = 4096


class RankShare(NamedTuple):
    """Rows of one batch: this rank's own, and the whole batch's. A rank without a row gets one that does not count."""

    own: int
    whole: int


@dataclass  # not frozen: Lightning converts its tensors for precisions like 64-true
class Block:
    """Several consecutive batches in one piece: one gather, one transfer, one scaling for all of them.

    Attributes:
        inputs: Stored inputs by name, each [rows, ...].
        target: [rows].
        batch_size: Rows of one optimiser step; the last step of a block may have fewer.
        lengths: For each padded input, the longest row of each batch: what is beyond is padding.
        shares: This rank's part of each batch, where several ranks share them; `batch_size` is of its own rows then.
        weight: Weight of each row, [rows]; None: all equal.
    """

    inputs: dict[str, Tensor]
    target: Tensor
    batch_size: int
    lengths: Mapping[str, Sequence[int]] = field(default_factory=dict)
    shares: Sequence[RankShare] = ()
    weight: Tensor | None = None

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Block:
        """Copy to a device (Lightning calls it)."""
        inputs = {name: x.to(device, non_blocking=non_blocking) for name, x in self.inputs.items()}
        target = self.target.to(device, non_blocking=non_blocking)
        weight = None if self.weight is None else self.weight.to(device, non_blocking=non_blocking)
        return Block(inputs, target, self.batch_size, self.lengths, self.shares, weight)

    def batches(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Yield the inputs and the target of one optimiser step after another, without needless padding."""
        for step, start in enumerate(range(0, len(self.target), self.batch_size)):
            rows = slice(start, start + self.batch_size)
            inputs = {name: x[rows] for name, x in self.inputs.items()}
            for name, longest in self.lengths.items():
                inputs[name] = inputs[name][:, : longest[step]]
            yield inputs, self.target[rows]

    def share(self, step: int, num_rows: int) -> RankShare:
        """This rank's part of one batch, of which it has `num_rows` here."""
        return self.shares[step] if self.shares else RankShare(num_rows, num_rows)

    def weights(self, step: int) -> Tensor | None:
        """What the rows of one batch count, [B]."""
        return None if self.weight is None else self.weight[step * self.batch_size : (step + 1) * self.batch_size]


class Part:
    """One split of the processed data.

    Args:
        arrays: Inputs by name, each [N, ...], `target`, maybe `weight`, [N]: tensors, or memory-mapped arrays (stream).
    """

    def __init__(self, arrays: Mapping[str, Tensor | np.ndarray[Any, Any]]) -> None:
        self._arrays: dict[str, Tensor | np.ndarray[Any, Any]] = dict(arrays)
        self.num_rows = len(self._arrays["target"])
        self.input_names = [name for name in self._arrays if name not in ("target", WEIGHT)]
        self.streams = isinstance(self._arrays["target"], np.ndarray)
        self.lengths: dict[str, Tensor] = {}

    def gather(self, index: Tensor) -> dict[str, Tensor]:
        """Copy the rows at `index`, int64 [M], in its order."""
        if self.streams:
            rows = index.numpy()
            return {name: torch.from_numpy(x[rows]) for name, x in self._arrays.items() if isinstance(x, np.ndarray)}
        tensors = {name: x for name, x in self._arrays.items() if isinstance(x, Tensor)}
        # index_select, not x[index]: ten times faster on bytes.
        return {name: x.index_select(0, index.to(x.device)) for name, x in tensors.items()}

    @property
    def weight(self) -> Tensor | None:
        """How much each row counts, float32 [N]; None: all the same."""
        found = self._arrays.get(WEIGHT)
        return torch.from_numpy(np.array(found)) if isinstance(found, np.ndarray) else found

    def to(self, device: torch.device) -> Part:
        """The same part with its tensors on a device; a streamed one stays where it is."""
        if self.streams:
            return self
        moved = Part({name: x.to(device) for name, x in self._arrays.items() if isinstance(x, Tensor)})
        moved.lengths = self.lengths
        return moved

    def measure(self, padding: Mapping[str, float]) -> None:
        """Find how long each row of the padded inputs is, so that batches can be cut to their longest row.

        Args:
            padding: The value that fills up each such input, [N, T, ...], on the right of axis 1.
        """
        for name, value in padding.items():
            pieces = []
            for start in range(0, self.num_rows, _MEASURED_ROWS):
                rows = self._arrays[name][start : start + _MEASURED_ROWS]
                x = rows if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows))  # a copy: maps are read-only
                used = (x != value).flatten(2).any(dim=2) if x.ndim > 2 else x != value
                places = torch.arange(1, x.shape[1] + 1) * used
                pieces.append(places.amax(dim=1).clamp(min=1))
            self.lengths[name] = torch.cat(pieces)


def padding_of(inputs: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Give the value that fills up each padded input, from `meta.json`'s `inputs`."""
    return {name: spec["padding"] for name, spec in inputs.items() if "padding" in spec}


def open_part(file: Path, input_names: list[str], *, stream: bool, weighted: bool = False) -> Part:
    """Open a split's `.safetensors`.

    Args:
        file: A split's file from the preprocess stage.
        input_names: Tensors to use besides `target`.
        stream: Map the file instead of reading it.
        weighted: Whether the rows' weights are wanted, too, where there are any.

    Raises:
        DataError: The file is missing, damaged, or lacks an input.
    """
    try:
        mapped = map_safetensors(file)
    except FileNotFoundError:
        raise DataError(file, None, "missing", fix="run `dvc repro`") from None
    except (ValueError, KeyError) as error:
        raise DataError(file, None, f"damaged: {error}", fix="run `dvc repro`") from None
    wanted = [*input_names, "target"]
    missing = [name for name in wanted if name not in mapped]
    if missing:
        raise DataError(file, None, f"has no tensor {', '.join(missing)}", fix="run `dvc repro`")
    wanted += [WEIGHT] if weighted and WEIGHT in mapped else []
    if len(mapped["target"]) == 0:
        raise DataError(file, None, "has no rows", fix="check preprocess.validation and profile.json")
    if stream:
        return Part({name: mapped[name] for name in wanted})
    return Part({name: torch.from_numpy(np.array(mapped[name])) for name in wanted})


def map_safetensors(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Map each tensor of a safetensors file (github.com/huggingface/safetensors, "Format") without reading it.

    Raises:
        ValueError: The header is damaged, or the file shorter than it says.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError("no safetensors header")
        header: dict[str, Any] = json.loads(stream.read(length))
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, spec in header.items():
        if name == "__metadata__":
            continue
        start, end = spec["data_offsets"]
        if 8 + length + end > size:
            raise ValueError(f"shorter than its header says ({size} bytes)")
        dtype, shape = _DTYPES[spec["dtype"]], tuple(spec["shape"])
        if start == end:
            arrays[name] = np.zeros(shape, dtype)
        else:
            arrays[name] = np.memmap(file, dtype=dtype, mode="r", offset=8 + length + start, shape=shape)
    return arrays

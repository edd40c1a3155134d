"""The rows of one processed split, read as they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flywheel.preprocessor.base import GROUP
from flywheel.project.errors import DataError
from flywheel.project.types import Json, Splits
from flywheel.report.bootstrap import Array

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

CHUNK_ROWS = 4096


class Examples:
    """One split, memory-mapped.

    Args:
        file: A split's `.safetensors`.
        inputs: The `inputs` of `meta.json`.

    Raises:
        DataError: The file is missing, damaged, or lacks a tensor.
    """

    def __init__(self, file: Path, inputs: Json) -> None:
        from flywheel.learner.data import open_part

        self._part = open_part(file, [*inputs, "row"], stream=True)
        self._inputs = inputs
        self.num_rows = self._part.num_rows
        self.target = self._column("target")
        self.rows = self._column("row")
        self.groups = read_groups(file)

    def inputs(self, index: Array) -> dict[str, Tensor]:
        """The stored inputs of the rows at `index`, int64 [M], each [M, ...]."""
        import torch

        found = self._part.gather(torch.from_numpy(np.asarray(index, dtype=np.int64)))
        return {name: found[name] for name in self._inputs}

    def batches(self, size: int) -> Iterator[dict[str, Tensor]]:
        """All rows in order, `size` at a time."""
        for start in range(0, self.num_rows, size):
            yield self.inputs(np.arange(start, min(start + size, self.num_rows)))

    def features(self, index: Array) -> Array:
        """Flattened inputs of some rows, float32 [M, num_features], scaled as the network scales them."""
        flat = []
        for name, values in self.inputs(index).items():
            spec = self._inputs[name]
            x = values.numpy().astype(np.float32)
            if "mean" in spec:
                mean, std = (np.asarray(spec[key], dtype=np.float32) for key in ("mean", "std"))
                if mean.ndim < 2:  # one constant for each place of the first axis, as `Network` takes them
                    mean, std = (one.reshape([-1] + [1] * (len(spec["shape"]) - 1)) for one in (mean, std))
                x = (x - mean) / std
            flat.append(x.reshape(len(x), -1))
        return np.concatenate(flat, axis=1)

    @property
    def num_features(self) -> int:
        """Columns of `features`."""
        return int(sum(np.prod(spec["shape"], dtype=np.int64) for spec in self._inputs.values()))

    def _column(self, name: str) -> Array:
        import torch

        found: Array = self._part.gather(torch.arange(self.num_rows))[name].numpy()
        return found


def raw_rows(splits: Splits, rows: Array) -> pd.DataFrame:
    """Give test rows as they are in the raw files.

    Args:
        splits: The raw data. Test rows are in the official test split; where there is none, they were drawn from train.
        rows: Their numbers; the frame has them in this order.

    Raises:
        DataError: A row is not there.
    """
    import pandas as pd

    split = splits.get("test") or splits["train"]
    parts = [part for frame in split.chunks(CHUNK_ROWS) if len(part := frame[frame.index.isin(rows)])]
    found = pd.concat(parts) if parts else pd.DataFrame()
    missing = np.setdiff1d(rows, found.index.to_numpy())
    if len(missing):
        why = "is a test row, but is not in the raw file"
        raise DataError(split.file, int(missing[0]), why, fix="run `dvc repro` to preprocess again")
    return found.loc[rows]


def read_groups(file: Path) -> Array | None:
    """The group of each row of a processed split, int32 [N]; None where its rows are in no groups.

    Raises:
        DataError: The file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as stored:
            return np.asarray(stored.get_tensor(GROUP)) if GROUP in stored.keys() else None  # noqa: SIM118 - no mapping
    except FileNotFoundError:
        raise DataError(file, None, "missing", fix="run `dvc repro`") from None
    except SafetensorError as error:
        raise DataError(file, None, f"damaged: {error}", fix="run `dvc checkout`, or preprocess again") from None

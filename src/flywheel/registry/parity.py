"""How far an exported model differs from the network it came from, over a whole split."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from flywheel.model.network import LoadedNetwork
from flywheel.project.errors import DataError
from flywheel.registry.onnx_model import Array, OnnxModel

BATCH_ROWS = 1000
BATCH_BYTES = 32_000_000
"""Of inputs: what a network makes of a photo is a hundred times as large as the photo."""


@dataclass(frozen=True)
class Parity:
    """What a comparison found.

    Attributes:
        max_difference: Largest difference of a score: absolute, of scores above 1 (numbers) relative.
        agreement: Share of rows that get the same answer.
        scores: The exported model's, of every row.
        target: The encoded target of every row.
        row: Number of each row in the raw file.
    """

    max_difference: float
    agreement: float
    scores: Array
    target: Array
    row: Array

    @property
    def bound(self) -> float:
        """The power of ten that the difference stays below; the last digits would differ between machines."""
        return power_of_ten_above(self.max_difference)


def compare(loaded: LoadedNetwork, exported: OnnxModel, split: Path, *, batch_rows: int = BATCH_ROWS) -> Parity:
    """Run both over a split, `batch_rows` at a time.

    Args:
        loaded: The network in PyTorch.
        exported: The network in ONNX.
        split: `<split>.safetensors` of the processed data.
        batch_rows: Rows held in memory at a time.

    Raises:
        DataError: The split is missing, damaged or empty.
    """
    largest, equal, scores, targets, rows = 0.0, 0, [], [], []
    for inputs, target, row in _batches(split, loaded.network.input_names, batch_rows):
        wanted = loaded.predict({name: torch.from_numpy(array) for name, array in inputs.items()}).numpy()
        got = exported.scores(inputs)
        difference = np.abs(got.astype(np.float64) - wanted) / np.maximum(1.0, np.abs(wanted))
        # NaN compares as smaller than anything: it must not pass for a small difference.
        largest = max(largest, float(difference.max()) if np.isfinite(difference).all() else math.inf)
        equal += int((answers(got) == answers(wanted)).sum())
        scores.append(got)
        targets.append(target)
        rows.append(row)
    if not scores:
        raise DataError(split, None, "has no rows", fix="run `dvc repro`")
    target = np.concatenate(targets)
    return Parity(largest, equal / len(target), np.concatenate(scores), target, np.concatenate(rows))


def power_of_ten_above(value: float) -> float:
    """The smallest power of ten that is not below `value`; 0 for 0."""
    if value == 0 or not math.isfinite(value):
        return value
    return float(f"1e{math.ceil(math.log10(value))}")


def scores_of(exported: OnnxModel, split: Path, *, batch_rows: int = BATCH_ROWS) -> Array:
    """Score every row of a split, `batch_rows` at a time.

    Raises:
        DataError: The split is missing or damaged.
        ModelError: The model takes other inputs.
    """
    return np.concatenate(
        [exported.scores(inputs) for inputs, _, _ in _batches(split, exported.input_names, batch_rows)]
    )


def answers(scores: Array) -> Array:
    """What a row's scores say: the best class, or (one number a row) the number to four significant digits."""
    if scores.ndim > 1 and scores.shape[-1] > 1:
        return np.asarray(scores.argmax(axis=-1))
    return np.array([float(f"{score:.4g}") for score in scores.reshape(len(scores)).tolist()])


def _batches(split: Path, names: list[str], batch_rows: int) -> Iterator[tuple[dict[str, Array], Array, Array]]:
    try:
        with safe_open(split, framework="numpy") as stored:
            slices: dict[str, Any] = {name: stored.get_slice(name) for name in (*names, "target", "row")}
            num_rows = slices["row"].get_shape()[0]
            row_bytes = sum(slices[name][:1].nbytes for name in names) if num_rows else 0
            batch_rows = max(1, min(batch_rows, BATCH_BYTES // max(1, row_bytes)))
            for start in range(0, num_rows, batch_rows):
                end = min(start + batch_rows, num_rows)  # safetensors refuses slices that go beyond
                part = {name: item[start:end] for name, item in slices.items()}
                yield {name: part[name] for name in names}, part["target"], part["row"]
    except FileNotFoundError:
        raise DataError(split, None, "missing", fix="run `dvc repro`") from None
    except SafetensorError as error:
        raise DataError(split, None, f"damaged: {error}", fix="run `dvc checkout`, or preprocess again") from None

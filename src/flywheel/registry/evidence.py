"""What the gate judges by: two models' scores on the same test rows, both as their exported files give them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from flywheel.preprocessor.base import RESERVED_COLUMNS, Preprocessor
from flywheel.project.errors import DataError
from flywheel.project.types import Json, Split, Splits
from flywheel.reader.format.value import name_of
from flywheel.registry.onnx_model import Array
from flywheel.registry.package import EVIDENCE, open_package

SCORES, META, METRICS, FEEDBACK = "scores.safetensors", "meta.json", "metrics.json", "feedback.json"
"""`METRICS` is the evaluate stage's `evaluation.json`: versions keep it under this name."""
CHUNK_ROWS = 2048


@dataclass(frozen=True)
class TestScores:
    """A model's answer to every test row.

    Attributes:
        row: Number of each row in the raw file.
        scores: [N, ...], in the same order.
        meta: The `meta.json` of the data that it was trained with.
    """

    __test__ = False  # no test class, whatever its name

    row: Array
    scores: Array
    meta: Json

    @property
    def test_sha256(self) -> str:
        """Of the processed test set."""
        return str(self.meta["sha256"]["test"])

    def fits(self, other: TestScores) -> bool:
        """Whether both answer the same rows, and their scores mean the same."""
        return self.test_sha256 == other.test_sha256 and _columns(self.meta) == _columns(other.meta)


def read_scores(scores: Path, meta: Path) -> TestScores:
    """Read what the export stage, or a version, holds.

    Raises:
        DataError: A file is missing or damaged.
    """
    try:
        stored = load_file(scores)
        return TestScores(stored["row"], stored["scores"], json.loads(meta.read_text()))
    except FileNotFoundError as error:
        raise DataError(str(error.filename or scores), None, "missing", fix="run `dvc repro`") from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise DataError(scores, None, f"damaged: {error}", fix="run `dvc checkout`, or export again") from None


def read_target(test: Path, row: Array) -> Array:
    """Read the test set's encoded target.

    Raises:
        DataError: The file is missing or damaged, or its rows are not those that were scored.
    """
    try:
        with safe_open(test, framework="numpy") as stored:
            target, own = stored.get_tensor("target"), stored.get_tensor("row")
    except FileNotFoundError:
        raise DataError(test, None, "missing", fix="run `dvc repro`") from None
    except SafetensorError as error:
        raise DataError(test, None, f"damaged: {error}", fix="run `dvc checkout`") from None
    if not np.array_equal(own, row):
        raise DataError(test, None, "holds other rows than those that were scored", fix="run `dvc repro`")
    return np.asarray(target)


def stored_scores(folder: Path) -> TestScores:
    """A version's scores as they were when it was registered."""
    return read_scores(folder / EVIDENCE / SCORES, folder / EVIDENCE / META)


def rescored(folder: Path, sums: Mapping[str, str], splits: Splits, like: TestScores) -> TestScores:
    """A version's scores on the present test rows, through its own preprocessor and model, from the raw files.

    Needed where the test set, or how it is preprocessed, has changed since the version was registered.

    Args:
        folder: Folder with the version's files.
        sums: Their sha256, as the registry's tags have them.
        splits: The raw data, read. The test rows are in the official test split; where there is none, they were
            drawn from train, and `like.row` are numbers of train rows.
        like: The other model's scores: these rows are wanted, in this order, in the order of its classes.

    Raises:
        DataError: The version cannot take a row as it is now.
        RegistryError: Its files are not those that were registered.
    """
    predictor = open_package(folder, sums)
    meta: Json = json.loads((folder / EVIDENCE / META).read_text())
    split = splits.get("test") or splits["train"]
    parts = [(frame.index.to_numpy(), predictor.scores(frame)) for frame in _wanted(split, like.row)]
    found = np.concatenate([rows for rows, _ in parts]) if parts else np.empty(0, np.int64)
    order = pd.Index(found).get_indexer(pd.Index(like.row))
    if (order < 0).any():
        missing = int(like.row[order < 0][0])
        raise DataError(split.file, missing, "is a test row, but is not in the raw file", fix="preprocess again")
    scores = np.concatenate([scores for _, scores in parts])[order]
    aligned = _in_order(scores, _columns(meta), _columns(like.meta))
    return TestScores(like.row, aligned, like.meta)


def raw_example(splits: Splits, inputs: Preprocessor) -> pd.DataFrame:
    """The first raw row that can be used, without its label: what a user might send."""
    split = splits.get("test") or splits["train"]
    for frame in split.chunks(64):
        kept, _ = inputs.clean(frame)
        if len(kept):
            return frame.loc[kept.index[:1]].drop(columns=list(RESERVED_COLUMNS), errors="ignore")
    raise DataError(split.file, None, "has no row that can be used")


def _wanted(split: Split, rows: Array) -> list[pd.DataFrame]:
    return [part for frame in split.chunks(CHUNK_ROWS) if len(part := frame[frame.index.isin(rows)])]


def _columns(meta: Json) -> list[str] | None:
    """What the columns of scores stand for: classes, or a catalogue's items; None where there is one number a row."""
    return meta.get("classes") or meta.get("items")


def _in_order(scores: Array, own: list[str] | None, wanted: list[str] | None) -> Array:
    """Bring class columns into another order; a class that the model does not know has no probability."""
    if own is None or wanted is None or own == wanted:
        return scores
    aligned = np.zeros((len(scores), len(wanted)), dtype=scores.dtype)
    names = [name_of(name) for name in own]
    for place, name in enumerate(map(name_of, wanted)):
        if name in names:
            aligned[:, place] = scores[:, names.index(name)]
    return aligned

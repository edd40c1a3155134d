"""Makes a reference of the rows that a version was trained and validated on, as raw as requests are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from flywheel.monitor.reference import Reference
from flywheel.monitor.trait.base import Array, answer_traits, concatenated, module_of, row_traits
from flywheel.preprocessor.base import Preprocessor
from flywheel.preprocessor.pipeline.feedback import appended, read_feedback
from flywheel.project.errors import DataError
from flywheel.project.types import Split, Splits

if TYPE_CHECKING:
    from flywheel.registry.predictor import Predictor

MAX_ROWS = 4000
"""Rows a reference is made of at most, a part each of train and validation; more would sharpen no test."""
CHUNK_ROWS = 2048
SEED = 20261125
REFERENCE_SPLITS = ("train", "validation")


def make_reference(
    predictor: Predictor, splits: Splits, feedback: Path, processed: Path, model_sha256: str
) -> Reference:
    """Make a version's reference.

    Rows are drawn from train and validation in proportion, unless the kind of task has requests that are like its
    validation rows only (`REFERENCE_SPLITS` of its traits). Answers are to validation rows: those to train would be
    too sure.

    Args:
        predictor: Predictor of the version.
        splits: The splits of the raw data.
        feedback: The folder with rows that were appended to train.
        processed: The folder with the arrays that the version was trained on; they say which raw row is in which split.
        model_sha256: The sha256 of the version's weights.

    Raises:
        DataError: A file is missing or damaged, or no row can be used.
    """
    inputs = predictor.preprocessor.inputs
    wanted = {name: rows_of(processed / f"{name}.safetensors") for name in splits_of(inputs)}
    total = sum(map(len, wanted.values()))
    traits = []
    for name, rows in wanted.items():
        for frame in raw_rows(name, splits, feedback, _drawn(rows, round(MAX_ROWS * len(rows) / max(1, total)))):
            traits.append(row_traits(inputs, frame))
    answered = []
    validation = _drawn(rows_of(processed / "validation.safetensors"), MAX_ROWS)
    for frame in raw_rows("validation", splits, feedback, validation):
        cleaned, _ = inputs.clean(frame)
        answered.append(answer_traits(predictor.preprocessor.target, predictor.predict(cleaned)))
    found = concatenated(traits)
    if not found:
        raise DataError(processed, None, "has no rows to make a reference from", fix="run `dvc repro`")
    return Reference.of(found, concatenated(answered), model_sha256)


def rows_of(file: Path) -> Array:
    """The raw row numbers of a processed split.

    Raises:
        DataError: The file is missing or damaged.
    """
    try:
        with safe_open(file, framework="numpy") as stored:
            return np.asarray(stored.get_tensor("row"))
    except FileNotFoundError:
        raise DataError(file, None, "missing", fix="run `dvc repro`, or `dvc checkout`") from None
    except SafetensorError as error:
        raise DataError(file, None, f"damaged: {error}", fix="run `dvc checkout`") from None


def raw_rows(name: str, splits: Splits, feedback: Path, rows: Array) -> Iterator[pd.DataFrame]:
    """Yield the raw rows of a processed split, in frames, as requests are: without anything that is not an input.

    Args:
        name: The name of the processed split.
        splits: The raw data; a split that the data set does not have itself was drawn from its train.
        feedback: The folder with rows that were appended to train.
        rows: Numbers of the rows.
    """
    split: Split = splits[name] if name in splits and name != "train" else appended(
        splits["train"], read_feedback(feedback)
    )  # fmt: skip
    for frame in split.chunks(CHUNK_ROWS):
        part = frame[frame.index.isin(rows)]
        if len(part):
            yield part


def splits_of(inputs: Preprocessor) -> tuple[str, ...]:
    """The processed splits whose rows are like requests."""
    module = module_of(type(inputs))
    if hasattr(module, "reference_splits"):  # it depends on the parts that there are
        found: tuple[str, ...] = module.reference_splits(inputs, REFERENCE_SPLITS)
        return found
    return cast("tuple[str, ...]", getattr(module, "REFERENCE_SPLITS", REFERENCE_SPLITS))


def _drawn(rows: Array, number: int) -> Array:
    """So many rows at random, always the same ones."""
    if len(rows) <= number:
        return rows
    return np.random.default_rng(SEED).choice(rows, number, replace=False)

"""Weights of the rows in training, from the reader, and from the number of copies in train."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from flywheel.preprocessor.pipeline.duplicates import num_copies
from flywheel.preprocessor.pipeline.splitter import PARTS, TRAIN, SplitPlan
from flywheel.preprocessor.pipeline.survey import Survey
from flywheel.project.types import Json

Array = np.ndarray[Any, Any]


def row_weights(surveys: Mapping[str, Survey], plan: SplitPlan, num_own: int, *, by_copies: bool) -> dict[str, Array]:
    """Give the weight of every row of each surveyed split that has weights, float32 [N].

    Feedback brings no weights: its rows count as much as the mean of the data set's own train rows. Where copies
    share one weight, each train row's is divided by the number of train rows with its inputs and its label.

    Args:
        surveys: The first pass's findings, by split of the raw data.
        plan: Plan of the split.
        num_own: Rows of train that are the data set's own; those behind them are feedback.
        by_copies: Whether the copies of a row count once together (`preprocess.overlap: weight`).
    """
    found = {name: one.weights.copy() for name, one in surveys.items() if one.weights is not None}
    train = surveys["train"]
    rows = np.flatnonzero(plan.parts["train"] == TRAIN)
    if "train" in found:
        own = found["train"][rows[rows < num_own]]
        found["train"][num_own:] = math.fsum(own) / len(own) if len(own) else 1.0
    if by_copies:
        shared = found.setdefault("train", np.ones(train.split.num_rows))
        shared[rows] /= num_copies(rows, train.digests, train.labels)
    return {name: weights.astype(np.float32) for name, weights in found.items()}


def weighted_parts(surveys: Mapping[str, Survey], *, by_copies: bool) -> list[str]:
    """The parts whose rows have weights: of splits whose reader gives them; train also where its copies share one."""
    given = {part for part in PARTS if surveys[part if part in surveys else "train"].weights is not None}
    return [part for part in PARTS if part in given or (by_copies and part == "train")]


def described(weights: Array) -> Json:
    """Statistics of a part's weights for `profile.json`.

    `effective_rows` is Kish's effective sample size (Kish 1965, "Survey Sampling"): as many rows of one weight would
    give a mean of the same variance.
    """
    exact = weights.astype(np.float64)
    total, squares = math.fsum(exact), math.fsum(exact**2)
    return {
        "min": float(exact.min()),
        "max": float(exact.max()),
        "mean": total / len(exact),
        "effective_rows": total**2 / squares,
    }

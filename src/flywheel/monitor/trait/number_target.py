"""Traits of answers that are numbers, and how they are judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from flywheel.monitor.trait.base import Array, Traits, numbers
from flywheel.preprocessor.target import Target
from flywheel.project.types import Json

if TYPE_CHECKING:
    from flywheel.serving.version.record import Feedback

METRIC, HIGHER_IS_BETTER = "mae", False


def answer_traits(target: Target, answers: pd.DataFrame) -> Traits:
    """Give the number."""
    return {"answer": numbers(answers["label"])}


def judge(answers: Sequence[Json], said: Sequence[Feedback]) -> Array:
    """The absolute error; NaN where the right number is not known."""
    return numbers([_error(answer, feedback.label) for answer, feedback in zip(answers, said, strict=True)])


def _error(answer: Json, label: str | float | None) -> float:
    try:
        return np.nan if label is None else abs(float(answer["label"]) - float(label))
    except ValueError:
        return float("nan")

"""Traits of answers that are classes, and how they are judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from flywheel.monitor.trait.base import Array, Traits, categories, numbers, same_label
from flywheel.preprocessor.target import Target
from flywheel.project.types import Json

if TYPE_CHECKING:
    from flywheel.serving.version.record import Feedback

METRIC, HIGHER_IS_BETTER = "accuracy", True


def answer_traits(target: Target, answers: pd.DataFrame) -> Traits:
    """Give the class, and how sure the model is of it."""
    return {"label": categories(answers["label"]), "probability": numbers(answers["probability"])}


def judge(answers: Sequence[Json], said: Sequence[Feedback]) -> Array:
    """1 where the class is the right one, or where the answer was reported as right; else 0."""
    found = [
        float(bool(feedback.correct)) if feedback.label is None else float(same_label(answer["label"], feedback.label))
        for answer, feedback in zip(answers, said, strict=True)
    ]
    return numbers(found)

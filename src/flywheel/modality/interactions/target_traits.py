"""Traits of answers that are lists of items, and how they are judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from flywheel.modality.interactions.data.target import ItemTarget
from flywheel.monitor.trait.base import Array, Traits, categories, numbers, same_label
from flywheel.preprocessor.target import Target
from flywheel.project.types import Json

if TYPE_CHECKING:
    from flywheel.serving.version.record import Feedback

NUM_TIERS = 10
METRIC, HIGHER_IS_BETTER = "hit_rate_10", True
NUM_JUDGED = 10


def answer_traits(target: Target, answers: pd.DataFrame) -> Traits:
    """Give the first item's tier of popularity (1: the most popular tenth of the catalogue) and its score."""
    items = cast(ItemTarget, target).items  # the most popular first
    tier = {item: str(1 + place * NUM_TIERS // len(items)) for place, item in enumerate(items)}
    first = [row[0] if len(row) else np.nan for row in answers["scores"]]
    return {
        "first item's tier": categories([tier.get(str(label)) for label in answers["label"]]),
        "first item's score": numbers(first),
    }


def judge(answers: Sequence[Json], said: Sequence[Feedback]) -> Array:
    """1 where the item is among the first ten of the answer, else 0; NaN where the right item is not known."""
    found = [
        np.nan
        if feedback.label is None
        else float(any(same_label(item, feedback.label) for item in answer["items"][:NUM_JUDGED]))
        for answer, feedback in zip(answers, said, strict=True)
    ]
    return numbers(found)

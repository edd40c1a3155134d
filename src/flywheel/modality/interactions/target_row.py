"""Answers that are lists of items: as long as the request says."""

from __future__ import annotations

from typing import Any, cast

from flywheel.modality.interactions.data.target import ItemTarget
from flywheel.preprocessor.target import Target
from flywheel.project.types import Json


def num_answers(target: Target, row: Json) -> int:
    """Count the items of the answer: `k` of them, but no more than there are."""
    items = cast(ItemTarget, target)
    return int(min(max(0.0, _number(row.get("k"), items.top_k)), items.num_items))


def _number(k: Any, usual: int) -> float:
    """A `k` as a number; one that is none is refused when the row is answered."""
    if k is None or k == "":
        return usual
    try:
        number = float(k)
    except (TypeError, ValueError, OverflowError):
        return 0
    return number if number == number else usual

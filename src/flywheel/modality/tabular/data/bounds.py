"""Bounds beyond which a number is an outlier, learnt of train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Bounds = tuple[float | None, float | None]
ROBUST = "robust"
FENCE = 3.0
"""How many times as far from the median as the 95% quantile of its side a value may be before it is an outlier."""


def bounds_of(known: np.ndarray[Any, Any], clip: str | Sequence[float]) -> Bounds | None:
    """Bounds beyond which a value is an outlier; None: neither side has one.

    `robust` are fences of each side's own width, so that a long tail on one side is kept (after Kimber 1990,
    "Exploratory data analysis for possibly censored data from skewed distributions"): `FENCE` times as far from the
    median as the 95% quantile of the values beyond it. Up to a twentieth of a side does not move them, and few values
    of a bell or of an exponential tail are beyond them (one in 10^8, one in 10^4).
    """
    if clip != ROBUST:
        low, high = np.quantile(known, [float(share) for share in clip])
        return float(low), float(high)
    middle = np.median(known)
    sides = (known[known < middle], 0.05), (known[known > middle], 0.95)
    found = [
        float(middle + FENCE * (np.quantile(beyond, share) - middle)) if beyond.size else None
        for beyond, share in sides
    ]
    return None if found == [None, None] else (found[0], found[1])

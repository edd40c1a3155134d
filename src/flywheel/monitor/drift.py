"""Has the traffic drifted? A test for each trait, corrected for their number, and a shift large enough to matter.

Each trait of a window is compared with the reference by a two-sample test. With thirty tests at 5%, a window without
any drift would have one or two that say so; Holm's correction (1979) holds the probability of even one for all of
them. And a large window makes a shift of no consequence significant: a shift counts only if it is also large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from flywheel.monitor.distribution import Distance, Distribution
from flywheel.monitor.settings import MonitorSettings
from flywheel.monitor.trait.base import Array, Traits
from flywheel.project.types import Json


@dataclass(frozen=True)
class Shift:
    """One trait of a window beside the reference.

    Attributes:
        name: The name of the trait.
        distance: Distance between window and reference.
        adjusted: The p-value after Holm's correction.
        drifted: Whether it is both significant and large.
        bins: Names of the bins of `expected` and `found`.
        expected: Share of the reference in each bin.
        found: Share in the window.
    """

    name: str
    distance: Distance
    adjusted: float
    drifted: bool
    bins: list[str]
    expected: list[float]
    found: list[float]

    def to_json(self) -> Json:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Drift:
    """What a family of traits, those of the inputs or of the answers, says of a window.

    Attributes:
        num_rows: Rows of the window.
        enough: Whether they were enough to say anything.
        shifts: Shift of each trait, the largest first; empty where there were not enough rows.
    """

    num_rows: int
    enough: bool
    shifts: list[Shift]

    @property
    def drifted(self) -> list[Shift]:
        """Those that have drifted."""
        return [shift for shift in self.shifts if shift.drifted]

    def to_json(self) -> Json:
        """Plain data."""
        return {
            "num_rows": self.num_rows,
            "enough": self.enough,
            "drifted": [shift.name for shift in self.drifted],
            "traits": [shift.to_json() for shift in self.shifts],
        }


def compare(reference: dict[str, Distribution], window: Traits, settings: MonitorSettings) -> Drift:
    """Compare a window's traits with the reference's.

    Args:
        reference: A distribution for each trait; those that only one side has are left out.
        window: Values of the window, one per row.
        settings: Thresholds of a shift.
    """
    names = [name for name in reference if name in window]
    num_rows = len(window[names[0]]) if names else 0
    if num_rows < settings.min_rows:
        return Drift(num_rows, enough=False, shifts=[])
    distances = [reference[name].distance(window[name]) for name in names]
    adjusted = holm([distance.p_value for distance in distances])
    shifts = []
    for name, distance, p_value in zip(names, distances, adjusted, strict=True):
        bins, expected = reference[name].shares()
        found = reference[name].shares(window[name])[1]
        drifted = p_value < settings.alpha and distance.effect >= settings.min_effect
        shifts.append(Shift(name, distance, p_value, drifted, bins, expected.tolist(), found.tolist()))
    return Drift(num_rows, True, sorted(shifts, key=lambda shift: (-shift.drifted, -shift.distance.effect)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down method (1979, "A simple sequentially rejective multiple test procedure")."""
    values: Array = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1.0, stepped)
    return [float(value) for value in adjusted]

"""A swept dimension as a stretch of an axis: where each value lies, and which values are named."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flywheel.sweep.search.space import Dimension
from flywheel.sweep.search.trial import Objective, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CHOICES_NAMED = 12
Ticks = tuple[list[float], list[str]]


@dataclass(frozen=True)
class Scale:
    """A dimension from 0 to 1: numbers by size (or order of magnitude), choices side by side.

    Attributes:
        position: Position of a trial; NaN where it lacks the dimension.
        ticks: Places that have a name.
        labels: Labels of the choices.
        step: Distance between two choices; 0 for numbers.
    """

    position: Callable[[Trial], float]
    ticks: list[float]
    labels: list[str]
    step: float = 0.0

    def at(self, trial: Trial) -> float | None:
        """Where a trial lies; None where it lacks the dimension."""
        place = self.position(trial)
        return place if math.isfinite(place) else None

    def spread(self, trial: Trial) -> float:
        """A little to the side, so that trials of one choice do not hide each other; the same at every drawing."""
        return self.step * 0.5 * ((trial.number * 0.618034) % 1 - 0.5)


def number_of(trial: Trial, dimension: Dimension) -> float:
    """A trial's value of an int or float dimension, its logarithm where the dimension is log; NaN where it has none."""
    try:
        value = float(trial.params[dimension.key])
        value = math.log(value) if dimension.log else value
    except (KeyError, ValueError, OverflowError):
        return math.nan
    return value if math.isfinite(value) else math.nan


def scale_of(dimension: Dimension, trials: Sequence[Trial]) -> Scale:
    """The stretch that holds a dimension's range, and every trial's value even if it lies outside."""
    if dimension.kind == "choice":
        tried = [trial.params[dimension.key] for trial in trials if dimension.key in trial.params]
        names = list(dict.fromkeys([*dimension.choices, *tried]))
        places = {name: (place + 0.5) / len(names) for place, name in enumerate(names)}
        named = names[:: math.ceil(len(names) / MAX_CHOICES_NAMED)]
        return Scale(
            position=lambda trial: places.get(trial.params.get(dimension.key, ""), math.nan),
            ticks=[places[name] for name in named],
            labels=named,
            step=1 / len(names),
        )
    values = [number_of(trial, dimension) for trial in trials]
    ends = [dimension.low, dimension.high]
    ends = [math.log(x) if x > 0 else math.nan for x in ends] if dimension.log else ends
    there = [x for x in [*values, *ends] if math.isfinite(x)] or [0.0]
    low, high = min(there), max(there)
    width = high - low
    ticks, labels = number_ticks(low, high, is_log=dimension.log, is_int=dimension.kind == "int")
    step = dimension.step or (1.0 if dimension.kind == "int" else math.inf)
    if 1 <= width / step <= 7 and not dimension.log:  # few enough to name them all
        stops = [low + place * step for place in range(math.floor(width / step + 1e-9) + 1)]
        ticks, labels = [(stop - low) / width for stop in stops], [tick_text(stop) for stop in stops]
    return Scale(
        position=lambda trial: (number_of(trial, dimension) - low) / width if width else _middle(trial, dimension),
        ticks=ticks,
        labels=labels,
    )


def reach(scores: Iterable[float], objective: Objective) -> tuple[float, float]:
    """Where an axis of scores should end: all of them, unless the worst quarter lies far off."""
    sign = 1.0 if objective.mode == "max" else -1.0
    ranked = sorted((sign * score for score in scores), reverse=True)
    best, worst, quartile = ranked[0], ranked[-1], ranked[(3 * (len(ranked) - 1)) // 4]
    fence = best - 3 * (best - quartile)
    if quartile < best and best - worst > 1.5 * (best - fence):
        worst = fence
    room = 0.08 * (best - worst) or 0.05 * abs(best) or 1.0
    ends = sign * (best + room), sign * (worst - room)
    return min(ends), max(ends)


def number_ticks(low: float, high: float, *, is_log: bool = False, is_int: bool = False) -> Ticks:
    """Round values between two ends, as places from 0 to 1, and their names.

    Args:
        low: The least value, or its logarithm.
        high: The largest value.
        is_log: Whether the ends are logarithms.
        is_int: Whether only whole numbers make sense.
    """
    from matplotlib.ticker import MaxNLocator

    if high <= low:
        return [0.5], [tick_text(math.exp(low) if is_log else low)]
    if is_log:
        values = log_ticks(math.exp(low), math.exp(high))
        places = [(math.log(value) - low) / (high - low) for value in values]
    else:
        values = [float(x) for x in MaxNLocator(4, integer=is_int, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
        places = [(value - low) / (high - low) for value in values]
    inside = [
        (place, tick_text(value)) for place, value in zip(places, values, strict=True) if -1e-9 <= place <= 1 + 1e-9
    ]
    return [place for place, _ in inside], [text for _, text in inside]


def log_ticks(low: float, high: float) -> list[float]:
    """Up to six values between two positive numbers, round ones where there are at least two."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        found = [float(f"{digit}e{power}") for power in range(first, last + 1) for digit in digits]
        found = [x for x in found if low * (1 - 1e-9) <= x <= high * (1 + 1e-9)]
        if len(found) >= 3:
            return found[:: math.ceil(len(found) / 6)]
    return found if len(found) == 2 else [low, high]


def scale_axis(axes: Axes, direction: str, values: Sequence[float], objective: Objective) -> None:
    """Name an axis, and draw orders of magnitude evenly where values span two."""
    from matplotlib.ticker import NullLocator

    axis, set_limits = (axes.xaxis, axes.set_xlim) if direction == "x" else (axes.yaxis, axes.set_ylim)
    low, high = min(values), max(values)
    is_log = low > 0 and high / low >= 100
    room = 0.06 * (math.log(high / low) if is_log else high - low) or 0.05 * abs(high) or 1.0
    if is_log:
        (axes.set_xscale if direction == "x" else axes.set_yscale)("log")
        axis.set_ticks(log_ticks(low, high))
        axis.set_minor_locator(NullLocator())
    set_limits(*((low * math.exp(-room), high * math.exp(room)) if is_log else (low - room, high + room)))
    axis.set_major_formatter(lambda value, place: tick_text(value))
    axis.set_label_text(f"{objective.name} ({'higher' if objective.mode == 'max' else 'lower'} is better)")


def tick_text(value: float) -> str:
    """A number in few characters: 0.003, 1e-05, 20k, 1.5M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.4g}{unit}"
    return f"{0.0 if abs(value) < 1e-12 else value:.5g}"


def short_texts(texts: Sequence[str], length: int) -> list[str]:
    """Cut long texts in their middle, as both ends tell things apart; those that become alike get a number."""
    cut = [text if len(text) <= length else f"{text[: length // 2]}…{text[1 - length // 2 :]}" for text in texts]
    counts = Counter(cut)
    return [f"{place + 1}: {text}" if counts[text] > 1 else text for place, text in enumerate(cut)]


def short_key(key: str, length: int) -> str:
    """Cut a long dotted key at its beginning, at a dot where there is one."""
    while len(key) > length and "." in key:
        key = "…" + key.lstrip("…").partition(".")[2]
    return key if len(key) <= length else "…" + key[1 - length :]


def _middle(trial: Trial, dimension: Dimension) -> float:
    return 0.5 if math.isfinite(number_of(trial, dimension)) else math.nan

"""Is the model as good in service as on the test set? What people and outcomes say, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from flywheel.monitor.settings import MonitorSettings
from flywheel.monitor.trait.base import Array, module_of
from flywheel.monitor.window import Window
from flywheel.preprocessor.target import Target
from flywheel.project.types import Json
from flywheel.report.bootstrap import Bootstrap, interval, wilson
from flywheel.serving.version.record import Feedback, Prediction

NUM_DRAWS, SEED = 1000, 0
MAX_STEPS, STEP_ROWS = 20, 20


@dataclass(frozen=True)
class Figure:
    """A mean with its interval.

    Attributes:
        value: The mean.
        low: Lower bound.
        high: Upper bound.
        num_rows: Number of rows that it is over.
        name: A version, or a time (ISO 8601).
    """

    value: float
    low: float
    high: float
    num_rows: int
    name: str = ""


@dataclass(frozen=True)
class Quality:
    """What is known of a window's answers.

    Attributes:
        metric: A key of `metrics.json`.
        higher_is_better: Whether higher values are better.
        live: Figure in service; None: no right answers are known.
        tested: Figure on the test set; None: its evaluation does not have it.
        difference: Live minus tested.
        enough: Whether there were enough rows to say anything.
        fallen: Whether the whole interval of the difference is beyond what may be lost.
        by_version: Figure of each version.
        over_time: Figures of equally many rows, the oldest first.
    """

    metric: str
    higher_is_better: bool
    live: Figure | None
    tested: Figure | None
    difference: Figure | None
    enough: bool
    fallen: bool
    by_version: list[Figure]
    over_time: list[Figure]

    def to_json(self) -> Json:
        """Plain data."""
        return asdict(self)


def measure_quality(target: Target, window: Window, metrics: Json, settings: MonitorSettings, version: int) -> Quality:
    """Judge the answers for which feedback is known.

    Args:
        target: The target of the task; says what a right answer is.
        window: Predictions of all versions.
        metrics: The version's `evaluation.json`.
        settings: Thresholds of a loss of quality.
        version: The one in service: its rows alone are compared with the test set.
    """
    kind = module_of(type(target), "target")
    known = judged(target, window)
    tested = _tested(metrics, kind.METRIC)
    own = [(row, score) for row, score in known if row.version == version]
    live = _figure(own, settings.confidence) if own else None
    difference = None if live is None or tested is None else less(live, tested)
    enough = len(own) >= settings.min_labelled
    fallen = False
    if enough and difference is not None and tested is not None:
        allowed = settings.max_quality_loss * abs(tested.value)
        fallen = difference.high < -allowed if kind.HIGHER_IS_BETTER else difference.low > allowed
    versions = sorted({row.version for row, _ in known})
    by_version = [
        _figure([(row, score) for row, score in known if row.version == number], settings.confidence, str(number))
        for number in versions
    ]
    return Quality(
        kind.METRIC, kind.HIGHER_IS_BETTER, live, tested, difference, enough, fallen, by_version,
        _over_time(known, settings.confidence),
    )  # fmt: skip


def judged(target: Target, window: Window) -> list[tuple[Prediction, float]]:
    """Each prediction with known feedback, with its score: 1 or 0, or an error; the oldest first."""
    pairs = window.known
    scores = scores_of(target, [row.answer for row, _ in pairs], [said for _, said in pairs])
    return [(row, float(score)) for (row, _), score in zip(pairs, scores, strict=True) if np.isfinite(score)]


def scores_of(target: Target, answers: Sequence[Json], said: Sequence[Feedback]) -> Array:
    """Judge answers by their feedback; NaN where it does not give the right answer."""
    found: Array = module_of(type(target), "target").judge(answers, said) if answers else np.empty(0, np.float32)
    return found


def subjects_of(rows: Sequence[Prediction]) -> Array | None:
    """Which rows are about one person, int [N]; None where each person has one row."""
    _, found = np.unique([row.subject or row.prediction_id for row in rows], return_inverse=True)
    return found if len(np.unique(found)) < len(rows) else None


def figure(scores: Array, confidence: float, name: str = "", groups: Array | None = None) -> Figure:
    """The mean of scores, at least one, with its interval.

    Wilson's (1927) where all are 0 or 1, else a bootstrap's; with groups whole groups are drawn.

    Args:
        scores: [N].
        confidence: The confidence of the interval.
        name: Name of the figure: a version or a time; empty: none.
        groups: int [N], rows that belong together, such as those of one person; None: all are independent.
    """
    mean, number = float(scores.mean()), len(scores)
    is_share = bool(np.isin(scores, (0, 1)).all())
    if groups is not None:
        resamples = Bootstrap(number, NUM_DRAWS, SEED, groups).blocks()
        means = [scores.astype(np.float64) @ block / block.sum(axis=0) for block in resamples]
        low, high = interval(mean, np.concatenate([*means, np.empty(0)]), confidence)
        if low is not None and high is not None and low < high:
            return Figure(mean, low, high, number, name)
        number_of = len(np.unique(groups))
        return Figure(mean, *(wilson(mean, number_of, confidence) if is_share else (mean, mean)), number, name)
    if is_share:
        return Figure(mean, *wilson(mean, number, confidence), number, name)
    draws = np.random.default_rng(SEED).choice(scores, (NUM_DRAWS, number)).mean(axis=1)
    low, high = interval(mean, draws, confidence)
    return Figure(mean, mean if low is None else low, mean if high is None else high, number, name)


def _figure(rows: Sequence[tuple[Prediction, float]], confidence: float, name: str = "") -> Figure:
    """The mean of some predictions' scores; those about one person are no independent rows."""
    return figure(np.array([score for _, score in rows]), confidence, name, subjects_of([row for row, _ in rows]))


def less(one: Figure, other: Figure) -> Figure:
    """The difference of two independent figures, its interval from theirs.

    The method of variance estimates recovery (Zou and Donner 2008); for two shares it is Newcombe's interval (1998).
    """
    difference = one.value - other.value
    low = difference - math.hypot(one.value - one.low, other.high - other.value)
    high = difference + math.hypot(one.high - one.value, other.value - other.low)
    return Figure(difference, low, high, min(one.num_rows, other.num_rows))


def _tested(metrics: Json, name: str) -> Figure | None:
    values: list[Any] = [metrics.get(key) for key in (name, f"{name}_low", f"{name}_high")]
    if any(not isinstance(value, int | float) for value in values):
        return None
    value, low, high = map(float, values)
    return Figure(value, low, high, int(metrics.get("num_test", 0)))


def _over_time(known: Sequence[tuple[Prediction, float]], confidence: float) -> list[Figure]:
    if not known:
        return []
    number = min(MAX_STEPS, max(1, len(known) // STEP_ROWS))
    parts = [part for part in np.array_split(np.arange(len(known)), number) if len(part)]
    return [
        _figure([known[place] for place in part], confidence, known[part[-1]][0].time.isoformat()) for part in parts
    ]

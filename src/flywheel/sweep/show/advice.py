"""What a sweep's trials say about the next one: a few plain sentences, and only where the trials bear them out."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from flywheel.report.style import shorten
from flywheel.sweep.search.space import Dimension
from flywheel.sweep.search.trial import COMPLETE, FAILED, PRUNED, Objective, Trial
from flywheel.sweep.show.folds import VARIED
from flywheel.sweep.show.pictures import best_first
from flywheel.sweep.show.scale import number_of

MAX_SENTENCES = 5
MIN_TRIALS = 5
MIN_TRIALS_STILL, MIN_TRIALS_FLAT = 10, 15
"""Fewer do not tell a sweep that stands still, or a dimension without influence, from chance."""
MIN_ALIKE = 3
EDGE, MOST, CHANCE = 0.05, 0.75, 0.02
_EPOCHS = "trainer.max_epochs"


def advice(trials: Sequence[Trial], dimensions: Sequence[Dimension], objective: Objective) -> list[str]:
    """Say what to try next.

    The best few are the best quarter of the complete trials, at least three. "Most of them" is three quarters.

    * Failures: one error, its numbers aside, ended at least three trials and a fifth of all that have ended.
    * The edge of a range: most of the best few lie within 5% of it (on the log scale where the range is), other
      trials do not, and values drawn evenly from the range would do so in fewer than 2 of 100 sweeps.
    * Longer training: in most of the best few the last epoch was the best.
    * Nothing new: at least ten trials are complete or pruned, and the best is among the earlier half of them.
    * A dimension makes no difference: see `flat_dimensions`.

    Args:
        trials: All trials.
        dimensions: Dimensions of the search space.
        objective: Objective that the score belongs to.

    Returns:
        Five sentences at most, the most useful first; none for fewer than five complete trials.
    """
    good = best_first(trials, objective)
    if len(good) < MIN_TRIALS:
        return []
    best = good[: max(3, math.ceil(len(good) / 4))]
    edges = {one.key: text for one in dimensions if (text := _edge(one, good, best))}
    said = [*_failures(trials, good, dimensions), *edges.values()]
    said += [] if _EPOCHS in edges else _epochs(best, objective)
    said += _nothing_new(trials, good[0])
    flat = [key for key in flat_dimensions(dimensions, good) if key not in edges]
    if flat:
        makes, rest = ("makes", "it at its default") if len(flat) == 1 else ("make", "them at their defaults")
        said.append(f"{', '.join(flat)}: {makes} no difference that these trials can tell; leave {rest}")
    return said[:MAX_SENTENCES]


def flat_dimensions(dimensions: Sequence[Dimension], good: Sequence[Trial]) -> list[str]:
    """Name the dimensions whose influence on the score is within the noise of these trials.

    Scores are replaced by their ranks: one wild score decides nothing. A linear model explains the ranks by a mean for
    each choice and a parabola over each number (its logarithm where it is log), which knows a best value in the middle.
    Dimensions enter it one after the other, the most telling first, as long as they tell something (F of 2) and half
    of the trials are left to measure the noise. A dimension is flat where its own F, after
    those, is at most 1, which is what chance gives: its part of the ranks' variance is no greater, per degree of
    freedom, than what nothing explains. That must hold among all trials and again among the better half, where
    settings that only ruin a training are out of the way. Fifteen trials that have the dimension are needed. One that
    others depend on (`when`) is never flat: its effect shows in theirs.

    Args:
        dimensions: Dimensions of the search space; folds and seeds are left out, as they should make no difference.
        good: The complete trials, best first.
    """
    if len(good) < MIN_TRIALS_FLAT or good[0].score == good[-1].score:
        return []
    ratios = [_f_ratios(dimensions, part) for part in (good, good[: math.ceil(len(good) / 2)])]
    values = {one.key: [trial.params[one.key] for trial in good if one.key in trial.params] for one in dimensions}
    keys = [key for key, found in values.items() if len(found) >= MIN_TRIALS_FLAT and len(set(found)) > 1]
    spared = {*VARIED, *(one.when.partition("=")[0] for one in dimensions)}
    return [key for key in keys if key not in spared and all(ratio[key] <= 1 for ratio in ratios)]


def _f_ratios(dimensions: Sequence[Dimension], trials: Sequence[Trial]) -> dict[str, float]:
    """Each dimension's F, after the dimensions that tell more; 0 where it takes only one value."""
    import numpy as np

    scores = np.array([trial.score for trial in trials])
    ranks = (scores[:, None] > scores).sum(axis=1) + 0.5 * (scores[:, None] == scores).sum(axis=1)

    def left_over(*columns: Any) -> tuple[float, int]:
        design = np.hstack([np.ones((len(trials), 1)), *columns])
        solution, _, rank, _ = np.linalg.lstsq(design, ranks, rcond=None)
        return float(((ranks - design @ solution) ** 2).sum()), int(rank)

    def f_ratio(others: Sequence[str], key: str) -> float:
        # Whether a dimension exists at all is the doing of another one.
        base = [column for other in others for column in designs[other]] + [designs[key][0]]
        (before, rank), (after, rank_with) = left_over(*base), left_over(*base, designs[key][1])
        if not rank < rank_with < len(trials):
            return 0.0
        return (before - after) / (rank_with - rank) / max(after / (len(trials) - rank_with), 1e-9)

    designs = {one.key: _design(one, trials) for one in dimensions}
    taken: list[str] = []
    while rest := [key for key in designs if key not in taken]:
        ratio, key = max((f_ratio(taken, key), key) for key in rest)
        width = left_over(*(column for one in [*taken, key] for column in designs[one]))[1]
        if ratio < 2 or width > len(trials) / 2:
            break
        taken.append(key)
    return {key: f_ratio([one for one in taken if one != key], key) for key in designs}


def _design(dimension: Dimension, trials: Sequence[Trial]) -> tuple[Any, Any]:
    """Whether each trial has the dimension, as one column; its value, as one or more."""
    import numpy as np

    if dimension.kind == "choice":
        words = [trial.params.get(dimension.key) for trial in trials]
        choices = sorted({word for word in words if word is not None})
        has = np.array([[word is not None] for word in words], dtype=float)
        return has, np.array([[word == choice for choice in choices] for word in words], dtype=float)
    x = np.array([number_of(trial, dimension) for trial in trials])
    has = np.isfinite(x)
    x = np.where(has, x, x[has].mean() if has.any() else 0.0)
    x = (x - x.mean()) / (x.std() or 1.0)
    return has[:, None].astype(float), np.stack([x, x**2], axis=1) * has[:, None]


def _edge(dimension: Dimension, good: Sequence[Trial], best: Sequence[Trial]) -> str:
    """The sentence on the best values at the edge of a range; empty where they are not."""
    low, high = dimension.low, dimension.high
    if dimension.kind == "choice" or not low < high or (dimension.log and low <= 0):
        return ""
    for end, bound in (("lower", low), ("upper", high)):
        at_edge = [trial for trial in best if _is_at(trial, dimension, bound)]
        if len(at_edge) < MOST * len(best) or all(_is_at(trial, dimension, bound) for trial in good):
            continue
        step = dimension.step or float(dimension.kind == "int")  # of few values, each is a large part of the range
        share = max(EDGE, 1 / (math.floor((high - low) / step) + 1)) if step else EDGE
        further = _further(dimension, end)
        if _at_least(len(at_edge), len(best), share) <= CHANCE and further is not None:
            where = f"the best trials lie at the {end} end ({_text(bound, dimension)})"
            to = f"{'down' if end == 'lower' else 'up'} to {_text(further, dimension)}"
            return f"{dimension.key}: {where}; try a wider range, {to}"
    return ""


def _is_at(trial: Trial, dimension: Dimension, bound: float) -> bool:
    low, high = (math.log(x) if dimension.log else x for x in (dimension.low, dimension.high))
    value = number_of(trial, dimension)
    return abs(value - (math.log(bound) if dimension.log else bound)) <= EDGE * (high - low) * (1 + 1e-9)


def _at_least(num: int, of: int, share: float) -> float:
    """Probability that at least `num` of `of` uniformly drawn values are in this share of a range."""
    return sum(math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(num, of + 1))


def _further(dimension: Dimension, end: str) -> float | None:
    """Where a wider range could end; None where the range ends at a natural bound: 0, a share of 1, a count of 1."""
    low, high = dimension.low, dimension.high
    if dimension.log:
        factor = min(10.0, math.sqrt(high / low))
        further = low / factor if end == "lower" else high * factor
    else:
        half = (high - low) / 2
        half = math.ceil(half / dimension.step) * dimension.step if dimension.step else half
        further = low - half if end == "lower" else high + half
    further = round(further) if dimension.kind == "int" else further
    if end == "lower":
        floor = 1.0 if dimension.kind == "int" and low >= 1 else 0.0 if low >= 0 else -math.inf
        further = max(further, floor)
        return further if further < low else None
    if dimension.kind == "float" and not dimension.log and low >= 0 and high <= 1:
        further = min(further, 1.0)
    return further if further > high else None


def _text(value: float, dimension: Dimension) -> str:
    return str(round(value)) if dimension.kind == "int" else f"{value:.3g}"


def _epochs(best: Sequence[Trial], objective: Objective) -> list[str]:
    to_the_end = [trial for trial in best if _is_last_best(trial, objective)]
    if len(to_the_end) < MOST * len(best):
        return []
    return [f"in {len(to_the_end)} of the {len(best)} best trials the last epoch was the best one: raise {_EPOCHS}"]


def _is_last_best(trial: Trial, objective: Objective) -> bool:
    """Whether the metric was still getting better; a training of one epoch cannot say."""
    curve = [x if objective.mode == "max" else -x for x in trial.curve]
    if len(curve) < 2 or not math.isfinite(curve[-1]):
        return False
    return all(curve[-1] > x for x in curve[:-1] if math.isfinite(x))


def _nothing_new(trials: Sequence[Trial], best: Trial) -> list[str]:
    # A pruned trial was tried, and found wanting; a failed one tells nothing.
    tried = sorted(trial.number for trial in trials if trial.state in (COMPLETE, PRUNED))
    later = tried[len(tried) // 2 :]
    if len(tried) < MIN_TRIALS_STILL or best.number >= later[0]:
        return []
    what = f"the last {len(later)} trials found nothing better than trial {best.number}"
    return [f"{what}: more trials of this kind are unlikely to help"]


def _failures(trials: Sequence[Trial], good: Sequence[Trial], dimensions: Sequence[Dimension]) -> list[str]:
    failed = [trial for trial in trials if trial.state == FAILED]
    kinds = Counter(_gist(trial) for trial in failed)
    num_ended = sum(trial.ended for trial in trials)
    for gist, count in kinds.most_common(1):
        if count >= max(MIN_ALIKE, num_ended / 5):
            alike = [trial for trial in failed if _gist(trial) == gist]
            error = " ".join(alike[0].error.split()) or "no reason given"
            where = _where(alike, good, dimensions)
            return [f"{count} of {num_ended} trials failed alike ({shorten(error, 120)}){where}; fix or avoid that"]
    return []


def _gist(trial: Trial) -> str:
    return re.sub(r"\d+", "#", " ".join(trial.error.split()))


def _where(alike: Sequence[Trial], good: Sequence[Trial], dimensions: Sequence[Dimension]) -> str:
    """What the failed trials share and no complete one has; empty where there is no such setting."""
    for dimension in dimensions:
        key = dimension.key
        if dimension.kind == "choice":
            values = {trial.params.get(key) for trial in alike}
            if len(values) == 1 and None not in values and not values & {trial.params.get(key) for trial in good}:
                return f", all with {key}={values.pop()}"
            continue
        bad = [number_of(trial, dimension) for trial in alike]
        well = [x for trial in good if not math.isnan(x := number_of(trial, dimension))]
        if not well or any(math.isnan(x) for x in bad):
            continue
        if min(bad) > max(well):
            word, limit = "above", max(well)
        elif max(bad) < min(well):
            word, limit = "below", min(well)
        else:
            continue
        return f", all with {key} {word} {_text(math.exp(limit) if dimension.log else limit, dimension)}"
    return ""

"""Is the new champion better in service than the one before? On the same rows where inputs were kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from flywheel.monitor.quality import Figure, figure, less, scores_of, subjects_of
from flywheel.monitor.trait.base import Array, module_of
from flywheel.monitor.window import Traffic, Window, frame_of_rows
from flywheel.preprocessor.target import Target
from flywheel.serving.version.record import Feedback, Prediction

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from flywheel.monitor.steering import LoopSettings
    from flywheel.registry.predictor import Predictor

GATE_SAYS = "Promoted"
"""How a promotion by the gate begins; what a person promoted by hand is not taken back."""
Pairs = Sequence[tuple[Prediction, Feedback]]


@dataclass(frozen=True)
class Comparison:
    """The new version less the old one.

    Attributes:
        metric: The compared metric.
        difference: New less old, with its interval.
        paired: Whether both answered the same rows.
        worse: Whether the whole interval says that the new one is worse.
    """

    metric: str
    difference: Figure
    paired: bool
    worse: bool

    @property
    def words(self) -> str:
        """The difference, for people."""
        one = self.difference
        how = "on the same rows" if self.paired else "on rows of its own each"
        return f"{self.metric} {one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f}), {one.num_rows} rows, {how}"


def compare_versions(
    known: Pairs, new: int, old: int, predictor: Predictor, least: int, confidence: float
) -> Comparison | None:
    """Compare two versions by what people and outcomes say.

    Args:
        known: Predictions of both with the corrections to them.
        new: The version in service.
        old: The champion before it.
        predictor: The predictor of the old version: it answers the new one's rows as well, where their inputs were
            kept.
        least: Minimum number of rows.
        confidence: The confidence of the interval.

    Returns:
        None where there are too few rows.
    """
    target = predictor.preprocessor.target
    kind = module_of(type(target), "target")
    scores, groups = _paired(known, new, predictor, target)
    if len(scores) >= least:
        difference = mean_interval(scores, confidence, groups)
    else:
        parts = [_scores(known, version, target) for version in (new, old)]
        if min(len(scores) for scores, _ in parts) < least:
            return None
        difference = less(*(figure(scores, confidence, "", groups) for scores, groups in parts))
    worse = difference.high < 0 if kind.HIGHER_IS_BETTER else difference.low > 0
    return Comparison(kind.METRIC, difference, len(scores) >= least, bool(worse))


def beside_the_former(client: MlflowClient, task: str, traffic: Traffic, settings: LoopSettings) -> Comparison | None:
    """Compare the champion with the one before; None where the gate has not promoted it, or too little is known."""
    from flywheel.registry import aliases, versions
    from flywheel.registry.package import open_package

    events = [one for one in aliases.history(client, task) if one.action != "refused"]
    last = events[-1] if events else None
    if not settings.rollback or last is None or last.action != "promoted":
        return None
    if last.by_hand or not last.why.startswith(GATE_SAYS):
        return None
    champion = versions.by_alias(client, task, versions.CHAMPION)
    old = None if last.before is None else versions.by_number(client, task, last.before)
    if old is None or champion is None or champion.number != last.after:
        return None
    known = Window.of([], traffic.answered(task, with_input=False)).known
    if sum(row.version == last.after for row, _ in known) < settings.min_rollback_rows:
        return None
    known = Window.of([], traffic.answered(task)).known
    predictor = open_package(versions.folder_of(client, old), old.sums)
    least, confidence = settings.min_rollback_rows, settings.rollback_confidence
    return compare_versions(known, last.after, old.number, predictor, least, confidence)


def mean_interval(differences: Array, confidence: float, groups: Array | None = None) -> Figure:
    """The mean of paired differences, two at least, with its normal interval.

    Rows of one group, such as those of one person, are not independent: the variance is that of the groups' sums (Liang
    and Zeger 1986, "Longitudinal data analysis using generalized linear models"). Without groups that is the usual one.
    """
    mean, number = float(differences.mean()), len(differences)
    sums = differences - mean if groups is None else np.bincount(groups, differences - mean)
    if len(sums) < 2:
        return Figure(mean, -math.inf, math.inf, number)
    error = math.sqrt(len(sums) / (len(sums) - 1) * float((sums**2).sum())) / number
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * error
    return Figure(mean, mean - reach, mean + reach, number)


def _paired(known: Pairs, new: int, predictor: Predictor, target: Target) -> tuple[Array, Array | None]:
    """New less old on each row that the new version answered, whose input was kept and whose right answer is known."""
    rows = [(row, said) for row, said in known if row.version == new and row.input is not None]
    rows = [(row, _with_label(row, said)) for row, said in rows if said.label is not None or said.correct]
    if len(rows) < 2:
        return np.empty(0), None
    said = [one for _, one in rows]
    frame = frame_of_rows([row.input for row, _ in rows], predictor.preprocessor)
    answers: pd.DataFrame = predictor.predict(frame)
    ours = scores_of(target, [row.answer for row, _ in rows], said)
    theirs = scores_of(target, answers.to_dict("records"), said)  # type: ignore[arg-type]
    return _judged([row for row, _ in rows], ours.astype(np.float64) - theirs)


def _with_label(row: Prediction, said: Feedback) -> Feedback:
    """A confirmed answer is the right one, for the other version as well."""
    return said if said.label is not None else replace(said, label=row.answer["label"])


def _scores(known: Pairs, version: int, target: Target) -> tuple[Array, Array | None]:
    pairs = [(row, said) for row, said in known if row.version == version]
    scores = scores_of(target, [row.answer for row, _ in pairs], [said for _, said in pairs])
    return _judged([row for row, _ in pairs], scores)


def _judged(rows: Sequence[Prediction], scores: Array) -> tuple[Array, Array | None]:
    """The scores that are known, and which of their rows are about one person."""
    known = np.isfinite(scores)
    return scores[known], subjects_of([row for row, judged in zip(rows, known, strict=True) if judged])

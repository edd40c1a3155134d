"""The gate: may a candidate take the champion's place? Pure functions; the reasons are in words.

The test is one of non-inferiority: both models are scored on the same frozen test rows, the same resamples of those
rows are drawn for both, and the candidate passes if the whole interval of the paired difference says that it is not
worse by more than a stated margin. A test set too small to tell does not pass.

It must pass against the champion, and against the best champion so far on these rows: compared with the last one only,
each of many candidates could lose a little, and the margins would add up. So the margin is spent once. A candidate that
measures like the champion in every resample, after the same training rows, is no reason to change the champion.

Whatever the champion, a candidate that its own report calls worse than a baseline is refused: the baseline is simpler.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from flywheel.project.config import RegisterConfig
from flywheel.project.errors import ConfigError, nearest
from flywheel.project.types import Json
from flywheel.registry.decision import Candidate, Champion, Decision
from flywheel.report.base import Report
from flywheel.report.bootstrap import Bootstrap, Metric, paired_interval

NUM_DRAWS, SEED = 1000, 0
CHAMPION, BEST = "the champion", "the best so far"
_RULES = ("metric", "mode", "confidence", "margin", "max_bytes", "max_latency_ms")
_JUDGED = ("candidate", "test_sha256", "num_bytes", "variant", "num_groups", "worse_than", "baseline", *_RULES)
"""What must be as it was for a decision to hold: what it is about, and the rules that it was made by."""


@dataclass(frozen=True)
class _Comparison:
    """The candidate beside one rival.

    Attributes:
        rival: Description of the rival.
        value: The rival's metric.
        gain: Gain of the candidate; negative where it is worse.
        low: Lower bound of the difference candidate - rival.
        high: Upper bound.
        worst: The bound of `gain` that speaks against the candidate.
    """

    rival: str
    value: float
    gain: float
    low: float
    high: float
    worst: float


def check_rules(rules: RegisterConfig, report: Report) -> None:
    """Refuse invalid rules.

    Raises:
        ConfigError: The metric is unknown, or the mode is wrong for it.
    """
    if rules.metric not in report.kinds:
        what = f"the report has no metric '{rules.metric}'"
        raise ConfigError(what, where="register.metric", fix=nearest(rules.metric, report.kinds))
    wanted = "max" if report.kinds[rules.metric].higher_is_better else "min"
    if rules.mode != wanted:
        what = f"'{rules.mode}' is wrong for {rules.metric}"
        raise ConfigError(what, where="register.mode", fix=f"set it to {wanted}")


def decide(
    rules: RegisterConfig,
    report: Report,
    candidate: Candidate,
    champion: Champion | None,
    best: Champion | None = None,
) -> Decision:
    """Judge a candidate.

    Args:
        rules: Checked by `check_rules`.
        report: Measures scores against the target.
        candidate: The new model.
        champion: The one in service; None: there is none.
        best: The best champion so far on these test rows; None: it is the champion.
    """
    found = _measured(rules, report, candidate, champion, best)
    worse = candidate.worse_than
    if worse is None or rules.baseline != "refuse" or found.candidate_value is None or _over_budget(rules, candidate):
        return found
    nothing = " There is no champion, so nothing is in service." if champion is None else ""
    why = (
        f"Refused: its own report calls it worse than {worse.title}: {worse.figures};"
        f" {worse.advice}, or set register.baseline=warn.{nothing}"
    )
    return replace(found, promoted=False, why=why)


def _measured(
    rules: RegisterConfig, report: Report, candidate: Candidate, champion: Champion | None, best: Champion | None
) -> Decision:
    """Judge a candidate by budgets and rivals alone."""
    draws = Bootstrap(len(candidate.target), NUM_DRAWS if champion else 0, SEED, candidate.groups)

    def measured(model: Candidate | Champion) -> Metric:
        return report.measure(candidate.target, model.scores, draws).metrics[rules.metric]

    ours = measured(candidate)
    theirs = measured(champion) if champion else None
    found = _unjudged(rules, candidate, champion, ours, theirs)
    over = _over_budget(rules, candidate)
    if over:
        return replace(found, why=f"Refused: {over}.")
    if ours.value is None:
        return replace(found, why=f"Refused: {rules.metric} is not defined for the candidate: {ours.reason}.")
    if champion is None or theirs is None or theirs.value is None:
        rival = "the first model of this task, compared with nothing" if theirs is None else (
            f"{rules.metric} is not defined for the champion ({theirs.reason}), so there is nothing to compare with"
        )  # fmt: skip
        why = f"{_promoted(candidate)}: {rival}; {rules.metric} {ours.value:.4f}{_within(rules)}."
        return replace(found, promoted=True, why=why)
    known = (candidate.variant, candidate.train_sha256) == (champion.variant, champion.train_sha256)
    if known and _same(ours, theirs):
        why = (
            f"Refused: {rules.metric} {ours.value:.4f}, as the champion's in every resample, after the same training"
            " rows: equal is no reason to change it."
        )
        return replace(found, difference=0.0, why=why)
    rivals = [(CHAMPION, champion, theirs)]
    if best is not None and (record := measured(best)).value is not None:
        rivals.append((BEST, best, record))
        found = replace(found, best=best.model_sha256, rescored=found.rescored or best.rescored)
    return _compared(rules, candidate, found, ours, rivals)


def refused(rules: RegisterConfig, report: Report, candidate: Candidate, why: str) -> Decision:
    """A refusal for a reason outside the comparison."""
    return replace(_alone(rules, report, candidate), why=why)


def holds(rules: RegisterConfig, report: Report, candidate: Candidate, stored: Json | None) -> Decision | None:
    """The decision that was made about a candidate, if it was made by today's rules and test set.

    Args:
        rules: The present rules.
        report: Measures scores against the target.
        candidate: A candidate that was registered before.
        stored: Output of `Decision.to_json` when it was judged; None if it is not known.
    """
    now = _alone(rules, report, candidate).to_json()
    if stored is None or any(stored.get(key) != now.get(key) for key in _JUDGED):
        return None
    return Decision.from_json(stored)


def standing(rules: RegisterConfig, report: Report, candidate: Candidate, stored: Json | None) -> Decision:
    """The decision about a candidate that is the champion already: the one that made it so, while that still holds.

    Args:
        rules: The present rules.
        report: Measures scores against the target.
        candidate: The champion.
        stored: Output of `Decision.to_json` when it was judged; None if it is not known.
    """
    found = holds(rules, report, candidate, stored)
    if found is not None and found.promoted:
        return found
    why = f"{_promoted(candidate)}: these weights are the champion already."
    return replace(_alone(rules, report, candidate), promoted=True, why=why)


def _alone(rules: RegisterConfig, report: Report, candidate: Candidate) -> Decision:
    draws = Bootstrap(len(candidate.target), 0, SEED, candidate.groups)
    ours = report.measure(candidate.target, candidate.scores, draws).metrics[rules.metric]
    return _unjudged(rules, candidate, None, ours, None)


def _same(one: Metric, other: Metric) -> bool:
    """Whether no resample distinguishes two models by the metric."""
    return one.value == other.value and np.array_equal(one.draws, other.draws, equal_nan=True)


def _compared(
    rules: RegisterConfig,
    candidate: Candidate,
    found: Decision,
    ours: Metric,
    rivals: list[tuple[str, Champion, Metric]],
) -> Decision:
    """Compare with the champion, which is the first of `rivals`, and with the best so far where that is another."""
    sign, own, made = (1 if rules.mode == "max" else -1), ours.value or 0.0, []
    for name, rival, theirs in rivals:
        low, high = paired_interval(ours, theirs, rules.confidence)
        if rival.model_sha256 == candidate.model_sha256 and _same(ours, theirs):
            low, high = 0.0, 0.0  # another form of the same weights: few rows are no reason to refuse it
        if low is None or high is None:
            return replace(found, why=f"Refused: the resamples give no interval of the difference of {rules.metric}.")
        other = theirs.value or 0.0
        made.append(_Comparison(name, other, sign * (own - other), low, high, low if sign > 0 else -high))
    found = replace(found, difference=own - made[0].value, interval=(made[0].low, made[0].high))
    if len(made) > 1:
        found = replace(found, best_value=made[1].value, best_difference=own - made[1].value,
                        best_interval=(made[1].low, made[1].high))  # fmt: skip
    facts = f"{rules.metric} {own:.4f} against " + " and ".join(_words(rules, own, one, found) for one in made)
    hardest = min(made, key=lambda one: one.worst)
    if hardest.worst >= -rules.margin:
        end = f"not worse by more than the margin of {rules.margin:g}{_within(rules)}"
    elif hardest.gain < -rules.margin:
        than = " than the best so far" if hardest.rival == BEST else ""
        end = f"worse{than} by more than the margin of {rules.margin:g}"
    else:
        end = (
            f"the test set cannot rule out a loss of more than the margin of {rules.margin:g};"
            f" that takes about {_rows_needed(rules, found, hardest)}, or folds instead (docs/registry.md)"
        )
    promoted = hardest.worst >= -rules.margin
    used = f" This test set has judged {found.num_judged} models." if found.num_judged > 1 else ""
    start = _promoted(candidate) if promoted else "Refused"
    return replace(found, promoted=promoted, why=f"{start}: {facts}: {end}.{used}")


def _words(rules: RegisterConfig, own: float, one: _Comparison, found: Decision) -> str:
    rows = f" on the same {found.num_rows} test rows" if one.rival == CHAMPION else ""
    of = f"{rules.confidence:.0%} interval" + ("" if found.num_groups is None else f" by {found.num_groups} groups")
    return f"{one.rival}'s {one.value:.4f}{rows} ({own - one.value:+.4f}, {of} {one.low:+.4f} to {one.high:+.4f})"


def _rows_needed(rules: RegisterConfig, found: Decision, one: _Comparison) -> str:
    """How many rows, or groups of rows, would make the interval short enough: it shrinks with their square root."""
    shrink = (one.gain - one.worst) / max(one.gain + rules.margin, 1e-9)
    needed = (found.num_groups or found.num_rows) * shrink**2
    what = "test rows" if found.num_groups is None else "groups of test rows"
    if needed > 1e7:
        return f"millions of {what}"
    digits = 10 ** max(len(str(math.ceil(needed))) - 2, 0)
    return f"{math.ceil(needed / digits) * digits:,} {what}"


def _promoted(candidate: Candidate) -> str:
    if candidate.worse_than is None:
        return "Promoted"
    return f"Promoted although its own report calls it worse than {candidate.worse_than.title}"


def _unjudged(
    rules: RegisterConfig, candidate: Candidate, champion: Champion | None, ours: Metric, theirs: Metric | None
) -> Decision:
    worse = candidate.worse_than
    found = Decision(
        promoted=False,
        why="",
        candidate=candidate.model_sha256,
        champion=champion.model_sha256 if champion else None,
        metric=rules.metric,
        mode=rules.mode,
        candidate_value=ours.value,
        champion_value=theirs.value if theirs else None,
        difference=None,
        interval=None,
        confidence=rules.confidence,
        margin=rules.margin,
        num_rows=len(candidate.target),
        test_sha256=candidate.test_sha256,
        rescored=bool(champion and champion.rescored),
        num_bytes=candidate.num_bytes,
        max_bytes=rules.max_bytes,
        max_latency_ms=rules.max_latency_ms,
        variant=candidate.variant,
        num_judged=candidate.num_judged,
        num_groups=None if candidate.groups is None else len(np.unique(candidate.groups)),
    )
    if worse is None:
        return found
    return replace(
        found,
        worse_than=worse.name,
        baseline=rules.baseline,
        baseline_metric=worse.metric,
        baseline_value=worse.baseline_value,
        baseline_difference=worse.difference,
        baseline_interval=worse.interval,
    )


def _over_budget(rules: RegisterConfig, candidate: Candidate) -> str:
    """What is too much, in words that do not change with the machine's mood; empty where nothing is."""
    over = []
    if rules.max_bytes is not None and candidate.num_bytes > rules.max_bytes:
        over.append(f"{candidate.num_bytes} bytes are more than {rules.max_bytes} (register.max_bytes)")
    if rules.max_latency_ms is not None and candidate.latency_ms > rules.max_latency_ms:
        over.append(f"one request takes longer than {rules.max_latency_ms:g} ms (register.max_latency_ms)")
    return " and ".join(over)


def _within(rules: RegisterConfig) -> str:
    return "" if rules.max_bytes is None and rules.max_latency_ms is None else ", and within its budgets"

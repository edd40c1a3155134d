"""The gate: may a candidate take the champion's place? Pure functions; the reasons are in words.

The test is one of non-inferiority: both models are scored on the same frozen test rows, the same resamples of those
rows are drawn for both, and the candidate passes if the whole interval of the paired difference says that it is not
worse than the champion by more than a stated margin. A test set too small to tell does not pass.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

from flywheel.config import RegisterConfig
from flywheel.errors import ConfigError, nearest
from flywheel.registry.variant.choice import FP32
from flywheel.report.base import Report
from flywheel.report.bootstrap import Array, Bootstrap, Metric, interval
from flywheel.types import Json

NUM_DRAWS, SEED = 1000, 0


@dataclass(frozen=True)
class Decision:
    """What the gate found; holds nothing that differs between two identical comparisons.

    Attributes:
        promoted: Whether the candidate is, or becomes, the champion.
        why: In words.
        candidate: Its model_sha256.
        champion: The model_sha256 it was compared with; None: nothing.
        metric: The metric compared.
        mode: Whether more (`max`) or less (`min`) of it is better.
        candidate_value: The metric of the candidate.
        champion_value: The metric of the champion.
        difference: Candidate less champion.
        interval: Of the difference.
        confidence: Of the interval.
        margin: The largest loss that is still "not worse".
        num_rows: Test rows both were scored on.
        test_sha256: Of the processed test set.
        rescored: Whether the champion was scored anew, because the test set or its preprocessing has changed.
        num_bytes: Of the candidate's ONNX file.
        max_bytes: Its budget.
        max_latency_ms: The budget of one request's median.
        variant: Which form of the exported model was judged.
    """

    promoted: bool
    why: str
    candidate: str
    champion: str | None
    metric: str
    mode: str
    candidate_value: float | None
    champion_value: float | None
    difference: float | None
    interval: tuple[float, float] | None
    confidence: float
    margin: float
    num_rows: int
    test_sha256: str
    rescored: bool
    num_bytes: int
    max_bytes: int | None
    max_latency_ms: float | None
    variant: str = FP32

    def to_json(self) -> Json:
        """Plain data, numbers to six digits after the point; the variant where it is not fp32."""
        told = {key: _rounded(value) for key, value in asdict(self).items()}
        return told if self.variant != FP32 else {key: value for key, value in told.items() if key != "variant"}


@dataclass(frozen=True)
class Candidate:
    """What the gate must know of a candidate.

    Attributes:
        model_sha256: Of `model.safetensors`.
        target: The encoded target of the test rows.
        scores: Its scores on them.
        test_sha256: Of the processed test set.
        num_bytes: Of its ONNX file.
        latency_ms: Median of one request on this machine.
        variant: Which form of the exported model these are of.
    """

    model_sha256: str
    target: Array
    scores: Array
    test_sha256: str
    num_bytes: int
    latency_ms: float
    variant: str = FP32


@dataclass(frozen=True)
class Champion:
    """What it is compared with: the champion's scores on the same rows, and whether they had to be made anew."""

    model_sha256: str
    scores: Array
    rescored: bool = False


def check_rules(rules: RegisterConfig, report: Report) -> None:
    """Refuse rules that cannot be meant.

    Raises:
        ConfigError: The metric is unknown, the mode is wrong for it, or a number is out of range.
    """
    if rules.metric not in report.kinds:
        what = f"the report has no metric '{rules.metric}'"
        raise ConfigError(what, where="register.metric", mend=nearest(rules.metric, report.kinds))
    wanted = "max" if report.kinds[rules.metric].higher_is_better else "min"
    if rules.mode != wanted:
        what = f"'{rules.mode}' is wrong for {rules.metric}"
        raise ConfigError(what, where="register.mode", mend=f"set it to {wanted}")
    if not 0 < rules.confidence < 1:
        raise ConfigError(f"{rules.confidence} is not between 0 and 1", where="register.confidence", mend="set 0.95")
    if not rules.margin >= 0:
        raise ConfigError(f"{rules.margin} is below 0", where="register.margin", mend="set 0 or more")


def decide(rules: RegisterConfig, report: Report, candidate: Candidate, champion: Champion | None) -> Decision:
    """Judge a candidate.

    Args:
        rules: Checked by `check_rules`.
        report: Measures scores against the target.
        candidate: The new model.
        champion: The one in service; None: there is none.
    """
    draws = Bootstrap(len(candidate.target), NUM_DRAWS if champion else 0, SEED)
    ours = report.measure(candidate.target, candidate.scores, draws).metrics[rules.metric]
    theirs = report.measure(candidate.target, champion.scores, draws).metrics[rules.metric] if champion else None
    found = _unjudged(rules, candidate, champion, ours, theirs)
    over = _over_budget(rules, candidate)
    if over:
        return replace(found, why=f"Refused: {over}.")
    if ours.value is None:
        return replace(found, why=f"Refused: {rules.metric} is not defined for the candidate: {ours.reason}.")
    if theirs is None or theirs.value is None:
        rival = "the first model of this task, compared with nothing" if theirs is None else (
            f"{rules.metric} is not defined for the champion ({theirs.reason}), so there is nothing to compare with"
        )  # fmt: skip
        return replace(found, promoted=True, why=f"Promoted: {rival}; {rules.metric} {ours.value:.4f}{_within(rules)}.")
    return _compared(rules, found, ours, theirs)


def refused(rules: RegisterConfig, report: Report, candidate: Candidate, why: str) -> Decision:
    """A refusal for a reason outside the comparison."""
    return replace(_alone(rules, report, candidate), why=why)


def standing(rules: RegisterConfig, report: Report, candidate: Candidate, stored: Json | None) -> Decision:
    """The decision about a candidate that is the champion already: the one that made it so, while that still holds.

    Args:
        rules: Those of today.
        report: Measures scores against the target.
        candidate: The champion.
        stored: What `Decision.to_json` gave when it was judged; None where nobody knows.
    """
    now = _alone(rules, report, candidate)
    same = ("candidate", "metric", "mode", "confidence", "margin", "test_sha256", "num_bytes", "max_bytes",
            "max_latency_ms", "variant")  # fmt: skip
    if stored and stored["promoted"] and all(stored.get(key) == now.to_json().get(key) for key in same):
        between = stored["interval"]
        return Decision(**{**stored, "interval": None if between is None else tuple(between)})
    return replace(now, promoted=True, why="Promoted: these weights are the champion already.")


def _alone(rules: RegisterConfig, report: Report, candidate: Candidate) -> Decision:
    draws = Bootstrap(len(candidate.target), 0, SEED)
    ours = report.measure(candidate.target, candidate.scores, draws).metrics[rules.metric]
    return _unjudged(rules, candidate, None, ours, None)


def _compared(rules: RegisterConfig, found: Decision, ours: Metric, theirs: Metric) -> Decision:
    own, other = ours.value or 0.0, theirs.value or 0.0
    difference = own - other
    low, high = interval(difference, ours.draws - theirs.draws, rules.confidence)
    if low is None or high is None:
        return replace(found, difference=difference, why=f"Refused: no resample defines {rules.metric}.")
    sign = 1 if rules.mode == "max" else -1
    gain, worst = sign * difference, low if sign > 0 else -high
    facts = (
        f"{rules.metric} {own:.4f} against the champion's {other:.4f} on the same {found.num_rows} test rows ("
        f"{difference:+.4f}, {rules.confidence:.0%} interval {low:+.4f} to {high:+.4f})"
    )
    if worst >= -rules.margin:
        verdict = f"Promoted: {facts}: not worse by more than the margin of {rules.margin:g}{_within(rules)}."
    elif gain < -rules.margin:
        verdict = f"Refused: {facts}: worse by more than the margin of {rules.margin:g}."
    else:
        verdict = (
            f"Refused: {facts}: the test set cannot rule out a loss of more than the margin of {rules.margin:g};"
            f" that takes more test rows, or a margin of {math.ceil(-worst * 1e4) / 1e4:g} (register.margin)."
        )
    return replace(
        found, promoted=worst >= -rules.margin, why=verdict, difference=difference, interval=(low, high)
    )  # fmt: skip


def _unjudged(
    rules: RegisterConfig, candidate: Candidate, champion: Champion | None, ours: Metric, theirs: Metric | None
) -> Decision:
    return Decision(
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


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6)
    return [_rounded(item) for item in value] if isinstance(value, tuple) else value

"""What the gate is given about models, and the decision that it gives back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from flywheel.project.types import Json
from flywheel.registry.better_baseline import BetterBaseline
from flywheel.registry.variant.choice import FP32
from flywheel.report.bootstrap import Array

_BASELINE = ("worse_than", "baseline", "baseline_metric", "baseline_value", "baseline_difference", "baseline_interval")
_ONLY_WHERE_KNOWN = ("variant", "num_groups", *_BASELINE)
"""Left out of the JSON where they are what they usually are."""


@dataclass(frozen=True)
class Decision:
    """What the gate found; holds nothing that differs between two identical comparisons.

    Attributes:
        promoted: Whether the candidate is, or becomes, the champion.
        why: The reason, for people.
        candidate: The candidate's model_sha256.
        champion: The model_sha256 it was compared with; None: nothing.
        metric: The compared metric.
        mode: Whether more (`max`) or less (`min`) of it is better.
        candidate_value: The metric of the candidate.
        champion_value: The metric of the champion.
        difference: Candidate less champion.
        interval: The confidence interval of the difference.
        confidence: The confidence of the interval.
        margin: The largest loss that is still "not worse".
        num_rows: Test rows both were scored on.
        test_sha256: The sha256 of the processed test set.
        rescored: Whether a rival was scored anew, because the test set or its preprocessing has changed.
        num_bytes: The number of bytes of the candidate's ONNX file.
        max_bytes: Limit of `num_bytes`.
        max_latency_ms: The budget of one request's median.
        variant: Export variant that was judged.
        best: The model_sha256 of the best champion so far on these rows, where it is not the present champion.
        best_value: Metric of the best model.
        best_difference: Candidate minus best.
        best_interval: The confidence interval of that difference.
        num_judged: Number of models judged on this test set, including the candidate: what is chosen on the same rows
            repeatedly fits them better than others.
        num_groups: Groups that the test rows come in, which are resampled whole; None: rows are independent.
        worse_than: The baseline that the candidate's own report calls better; None: none.
        baseline: What the rules do then, `refuse` or `warn`; None where no baseline is better.
        baseline_metric: The metric by which it is better, the report's first.
        baseline_value: Its value.
        baseline_difference: Candidate less baseline.
        baseline_interval: The 95% interval of that difference.
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
    best: str | None = None
    best_value: float | None = None
    best_difference: float | None = None
    best_interval: tuple[float, float] | None = None
    num_judged: int = 1
    num_groups: int | None = None
    worse_than: str | None = None
    baseline: str | None = None
    baseline_metric: str | None = None
    baseline_value: float | None = None
    baseline_difference: float | None = None
    baseline_interval: tuple[float, float] | None = None

    def to_json(self) -> Json:
        """Plain data, numbers to six digits after the point; what is seldom known only where it is."""
        told = {key: _rounded(value) for key, value in asdict(self).items()}
        usual = {"variant": FP32}
        return {key: value for key, value in told.items() if key not in _ONLY_WHERE_KNOWN or value != usual.get(key)}

    @classmethod
    def from_json(cls, stored: Json) -> Decision:
        """Rebuild what `to_json` gave."""
        names = ("interval", "best_interval", "baseline_interval")
        bounds = {key: tuple(stored[key]) for key in names if stored.get(key) is not None}
        return cls(**{**stored, **bounds})


@dataclass(frozen=True)
class Candidate:
    """What the gate must know of a candidate.

    Attributes:
        model_sha256: The sha256 of `model.safetensors`.
        target: The encoded target of the test rows.
        scores: The candidate's scores on them.
        test_sha256: The sha256 of the processed test set.
        num_bytes: The number of bytes of its ONNX file.
        latency_ms: Median of one request on this machine.
        variant: Export variant that the scores are of.
        train_sha256: The sha256 of the processed train rows; empty if it is not known.
        groups: The groups of the test rows, int [N]; None: they are independent.
        num_judged: How many models this test set has judged, this one included.
        worse_than: The baseline that its report calls clearly better; None: none.
        is_trial: Whether `trainer.fast_dev_run` made it.
    """

    model_sha256: str
    target: Array
    scores: Array
    test_sha256: str
    num_bytes: int
    latency_ms: float
    variant: str = FP32
    train_sha256: str = ""
    groups: Array | None = field(default=None, repr=False)
    num_judged: int = 1
    worse_than: BetterBaseline | None = None
    is_trial: bool = False


@dataclass(frozen=True)
class Champion:
    """What it is compared with: a model's scores on the same rows.

    Attributes:
        model_sha256: The sha256 of `model.safetensors`.
        scores: Scores, in the order of the candidate's rows.
        rescored: Whether they had to be made anew.
        variant: Export variant that the scores are of.
        train_sha256: The sha256 of the processed train rows; empty if it is not known.
    """

    model_sha256: str
    scores: Array
    rescored: bool = False
    variant: str = FP32
    train_sha256: str = ""


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6)
    return [_rounded(item) for item in value] if isinstance(value, tuple) else value

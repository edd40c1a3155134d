"""Measures variants on the whole test set beside fp32, and refuses those that lose too much; the reasons are in words.

The test is the gate's, of non-inferiority (`flywheel.registry.gate`): the same resamples of the same test rows are
drawn for both, and the variant passes if the whole interval of the paired difference says that it loses no more than
`max_loss`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flywheel.project.config import ExportConfig, VariantConfig
from flywheel.project.digest import sha256_of
from flywheel.project.errors import FlywheelError, ModelError
from flywheel.project.instantiate import build
from flywheel.project.kind import VARIANT
from flywheel.project.types import Json
from flywheel.registry.onnx_model import Array, OnnxModel
from flywheel.registry.parity import answers, scores_of
from flywheel.registry.variant.base import Maker, Material
from flywheel.report.base import Report
from flywheel.report.bootstrap import Bootstrap, Metric

log = logging.getLogger("flywheel")

NUM_DRAWS, SEED = 1000, 0


@dataclass(frozen=True)
class Exam:
    """What all variants of a model are measured on, and by what.

    Attributes:
        report: Measures scores; its headline metric decides.
        split: The file `test.safetensors`.
        target: The encoded target of its rows.
        scores: Scores of fp32 on the test rows.
        num_bytes: The number of bytes of fp32's file.
        groups: The groups of the test rows, int [N]; None: they are independent.
    """

    report: Report
    split: Path
    target: Array
    scores: Array
    num_bytes: int
    groups: Array | None = None

    def metric(self, scores: Array) -> Metric:
        """The headline metric of scores, with its interval and the draws that pair it with others."""
        draws = Bootstrap(len(self.target), NUM_DRAWS, SEED, self.groups)
        return self.report.measure(self.target, scores, draws).metrics[self.report.headline]

    @property
    def sign(self) -> int:
        """1 where more of the metric is better, else -1."""
        return 1 if self.report.kinds[self.report.headline].higher_is_better else -1


def make_variants(
    settings: ExportConfig, material: Material, exam: Exam, folder: Path
) -> tuple[Json, dict[str, Array]]:
    """Make, measure and judge every configured variant.

    Args:
        settings: Checked by `flywheel.registry.variant.choice.check`.
        material: Sources of the variants, with fp32's file.
        exam: Test rows and fp32's scores.
        folder: Gets `<variant>.onnx` of each that could be made.

    Returns:
        The entry of each variant in `parity.json`, and the scores of those that passed.

    Raises:
        ModelError: A required variant cannot be made, or is refused.
    """
    fp32 = exam.metric(exam.scores)
    entries: Json = {}
    passed: dict[str, Array] = {}
    for name, variant in settings.variants.items():
        file = folder / f"{name}.onnx"
        try:
            entry, scores = _made(variant, material, exam, file, fp32, settings.max_loss)
        except FlywheelError as error:
            entry, scores = {"passed": False, "why": f"Refused: cannot be made: {error.what}."}, None
            file.unlink(missing_ok=True)
        if variant.required and not entry["passed"]:
            fix = "fix it, or set required: false"
            raise ModelError(entry["why"].rstrip("."), where=f"export.variants.{name}", fix=fix)
        entries[name] = entry
        if scores is not None and entry["passed"]:
            passed[name] = scores
    return entries, passed


def fp32_entry(exam: Exam, file: Path) -> Json:
    """What `parity.json` says of fp32 beyond what it always says, so that variants can be read beside it."""
    metric = exam.metric(exam.scores)
    return {"interval": _bounds(metric), "onnx_sha256": sha256_of(file)}


def _made(
    variant: VariantConfig, material: Material, exam: Exam, file: Path, fp32: Metric, max_loss: float
) -> tuple[Json, Array | None]:
    maker: Maker = build(variant.make, VARIANT, where="export.variants: make")
    source = file.parent / f"{variant.of}.onnx"
    if not source.is_file():
        raise ModelError(f"{variant.of}, which it is made from, could not be made")
    told = maker.make(Material(source, material.inputs, material.train, material.row), file)
    limit = max_loss if variant.max_loss is None else variant.max_loss
    entry: Json = {
        "made_from": variant.of, "num_bytes": file.stat().st_size, "onnx_sha256": sha256_of(file), "max_loss": limit,
        **told,
    }  # fmt: skip
    try:
        scores = scores_of(OnnxModel(file), exam.split)
    except ModelError as error:
        what = f"Refused: made, but not measured, because it does not run on this machine: {_short(error.what)}."
        return {**entry, "passed": False, "why": what}, None
    if scores.shape != exam.scores.shape:
        what = f"Refused: its scores have the shape {scores.shape[1:]}, those of fp32 {exam.scores.shape[1:]}."
        return {**entry, "passed": False, "why": what}, None
    found = exam.metric(scores)
    difference = found.minus(fp32)
    if np.array_equal(answers(scores), answers(exam.scores)) and np.array_equal(
        found.draws, fp32.draws, equal_nan=True
    ):
        # It is made from fp32 and answers every row alike: few rows are no reason to refuse it.
        difference = replace(difference, low=0.0, high=0.0)
    why = _refusal(exam, found, difference, limit) or _too_large(entry["num_bytes"], exam.num_bytes, variant.min_shrink)
    entry |= {
        exam.report.headline: found.value,
        "interval": _bounds(found),
        "difference": _rounded(difference.value),
        "difference_interval": _bounds(difference),
        "agreement": _rounded(float((answers(scores) == answers(exam.scores)).mean())),
        "passed": not why,
        "why": f"Refused: {why}." if why else _praise(exam, difference, limit),
    }
    return entry, scores


def _refusal(exam: Exam, found: Metric, difference: Metric, limit: float) -> str:
    """Why the score is not good enough; empty where it is."""
    name = exam.report.headline
    if found.value is None:
        return f"{name} is not defined: {found.reason}"
    if difference.value is None or difference.low is None or difference.high is None:
        return f"no resample defines {name}"
    worst = difference.low if exam.sign > 0 else -difference.high
    if worst >= -limit:
        return ""
    facts = f"{name} {difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}) against fp32"
    if exam.sign * difference.value < -limit:
        return f"{facts}: a loss of more than {limit:g} (export.max_loss)"
    return f"{facts}: the test set cannot rule out a loss of more than {limit:g} (export.max_loss)"


def _too_large(num_bytes: int, fp32_bytes: int, min_shrink: float) -> str:
    shrink = fp32_bytes / num_bytes
    if shrink >= min_shrink:
        return ""
    return f"only {shrink:.2f} times smaller than fp32, not {min_shrink:g} (min_shrink)"


def _praise(exam: Exam, difference: Metric, limit: float) -> str:
    low, high = difference.low or 0.0, difference.high or 0.0
    return (
        f"Passed: {exam.report.headline} {difference.value:+.4f} ({low:+.4f} to {high:+.4f}), within {limit:g} of fp32."
    )


def _bounds(metric: Metric) -> list[float | None]:
    return [_rounded(metric.low), _rounded(metric.high)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _short(text: str) -> str:
    """ONNX Runtime's reason without folders and numbers of its own: outputs hold no path."""
    words = text.removeprefix("not an ONNX model that can run: ").split(" : ")[-1]
    return words.split(" node with name")[0].split(" failed:")[-1].rstrip(".")

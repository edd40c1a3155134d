"""What a model's own report says of its best baseline: whether that is clearly better, and what to use instead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flywheel.project.types import Json
from flywheel.report.base import Report, tone_of
from flywheel.report.bootstrap import Metric

MODEL_OPTIONS = {"linear_model": "linear"}
"""Baseline -> the option of `conf/model/` that trains it, where that does not have the baseline's own name."""


@dataclass(frozen=True)
class BetterBaseline:
    """A baseline whose lead over the model is clear: the whole paired interval is on its side.

    Attributes:
        name: Its name in `evaluation.json`.
        metric: The report's first metric, which the two are compared by.
        value: The model's.
        baseline_value: The baseline's.
        difference: Model less baseline.
        interval: The paired 95% interval of the difference.
        option: The option of `conf/model/` that trains it; None: there is none.
    """

    name: str
    metric: str
    value: float
    baseline_value: float
    difference: float
    interval: tuple[float, float]
    option: str | None = None

    @property
    def title(self) -> str:
        """Its name in a sentence."""
        return self.name.replace("_", " ")

    @property
    def figures(self) -> str:
        """The comparison in words."""
        low, high = self.interval
        return (
            f"{self.metric} {self.value:.4f} against {self.baseline_value:.4f}"
            f" ({self.difference:+.4f}, 95% interval {low:+.4f} to {high:+.4f})"
        )

    @property
    def advice(self) -> str:
        """What to use instead, in words."""
        return f"use {self.title} instead" + (f" (model={self.option})" if self.option else "")


def better_baseline(metrics: Json, report: Report, models: Path) -> BetterBaseline | None:
    """The best baseline of a model's report, where that is clearly better than the model; None where it is not.

    Args:
        metrics: The content of `evaluation.json`.
        report: Says which metric comes first, and which way it is better.
        models: The folder of the options of `model`.
    """
    name, kind = report.headline, report.kinds[report.headline]
    sign = 1 if kind.higher_is_better else -1
    known = {key: found for key, found in metrics.get("baseline", {}).items() if found.get(name) is not None}
    if not known:
        return None
    best = max(known, key=lambda key: sign * known[key][name])
    value, low, high = (known[best].get(f"{name}_difference{end}") for end in ("", "_low", "_high"))
    if tone_of(Metric(value, low, high), kind) != "bad":
        return None
    option = MODEL_OPTIONS.get(best, best)
    return BetterBaseline(
        name=best,
        metric=name,
        value=metrics[name],
        baseline_value=known[best][name],
        difference=value,
        interval=(low, high),
        option=option if (models / f"{option}.yaml").is_file() else None,
    )

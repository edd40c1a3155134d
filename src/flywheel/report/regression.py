"""The report on a target that is a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from flywheel.report.base import (
    Card,
    Evidence,
    Measured,
    MetricKind,
    Report,
    Section,
    Table,
    Verdict,
    verdict_against,
)
from flywheel.report.baseline import BaselineData
from flywheel.report.bootstrap import Array, Bootstrap
from flywheel.report.comparison import comparison_section
from flywheel.report.gallery import gallery_picture
from flywheel.report.number_metrics import group_of, measure_numbers
from flywheel.report.regression_pictures import group_picture, plain, residual_picture, scatter_picture

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class NumberKind(MetricKind):
    """A metric in the target's own units, which may be of any size."""

    def show(self, value: float | None) -> str:
        """Write a value with four significant digits."""
        return "not defined" if value is None else plain(value)

    def show_difference(self, value: float) -> str:
        """The same with its sign."""
        return plain(value) if value < 0 else f"+{plain(value)}"


KINDS: dict[str, MetricKind] = {
    "rmse": NumberKind(
        "RMSE", "Root of the mean squared error: large errors count most.", higher_is_better=False, percent=False
    ),
    "mae": NumberKind("MAE", "Mean absolute error.", higher_is_better=False, percent=False),
    "r2": MetricKind("R²", "Share of the target's variance that is explained; 0 is the mean's.", percent=False),
    "median_error": NumberKind(
        "Median error", "Half of the rows are off by less.", higher_is_better=False, percent=False
    ),
}
COMPARED = ("rmse", "mae", "median_error")


class RegressionReport(Report):
    """What evaluate does for numbers; all figures are in the target's own units.

    Args:
        target_mean: Mean that was subtracted from the stored target.
        target_std: Divisor of the stored target.
        target_log1p: Whether the stored target is the logarithm of 1 + target.
    """

    kinds: ClassVar[dict[str, MetricKind]] = KINDS
    headline: ClassVar[str] = "rmse"
    tiles: ClassVar[tuple[str, ...]] = ("rmse", "mae", "r2", "median_error")

    def __init__(self, target_mean: float = 0.0, target_std: float = 1.0, target_log1p: bool = False) -> None:
        self._mean, self._std, self._log1p = float(target_mean), float(target_std), bool(target_log1p)

    def measure(self, target: Array, scores: Array, bootstrap: Bootstrap) -> Measured:
        """RMSE, MAE, R² and median absolute error; the MAE of each tenth of the predictions as parts."""
        return measure_numbers(self._own(target), scores, bootstrap)

    def trivial(self, data: BaselineData) -> tuple[str, str, Array, str]:
        """Train's mean, which no other constant beats by RMSE; the note has the median."""
        train = self._own(data.train.target)
        mean = float(train.mean())
        note = f"Train's mean always answers {plain(mean)}; train's median is {plain(float(np.median(train)))}."
        return "mean", "train's mean", np.full(data.test.num_rows, mean), note

    def verdict(self, evidence: Evidence) -> Verdict:
        """RMSE in words, and by how much it differs from the best baseline's."""
        kind, metrics = self.kinds["rmse"], evidence.model.measured.metrics
        value, between = kind.show(metrics["rmse"].value), kind.show_interval(metrics["rmse"])
        rows = f"{evidence.num_rows:,} test {'row' if evidence.num_rows == 1 else 'rows'}"
        start = f"The model is off by {value} (RMSE) on {rows}"
        start += f" (95% interval {between})" if between else ""
        return verdict_against(start, evidence, "rmse", kind, plain)

    def predictions(self, evidence: Evidence) -> dict[str, Array]:
        """Row, true and predicted number, and predicted - true."""
        target, predicted = self._own(evidence.target), evidence.scores.astype(np.float64)
        return {"row": evidence.rows, "target": target, "predicted": predicted, "error": predicted - target}

    def tables(self, evidence: Evidence) -> dict[str, pd.DataFrame]:
        """`predicted` (what `dvc plots` draws) and `error_by_prediction`."""
        import pandas as pd

        target, predicted = self._own(evidence.target), evidence.scores.astype(np.float64)
        group, parts = group_of(evidence.scores), evidence.model.measured.parts["mae"]
        rows = []
        for one in np.unique(group):
            inside = group == one
            said, true = predicted[inside], target[inside]
            rows.append({
                "from": said.min(), "to": said.max(), "num_rows": int(inside.sum()), "mean_predicted": said.mean(),
                "mean_target": true.mean(), "mae": parts[one].value, "low": _number(parts[one].low),
                "high": _number(parts[one].high),
            })  # fmt: skip
        pairs = pd.DataFrame({"target": target, "predicted": predicted})
        return {"predicted": pairs, "error_by_prediction": pd.DataFrame(rows)}

    def sections(self, evidence: Evidence) -> list[Section]:
        """Baselines, predicted and true, errors by prediction, worst errors."""
        by_group = self.tables(evidence)["error_by_prediction"]
        return [
            comparison_section(evidence, self.kinds, COMPARED),
            self._errors(evidence),
            self._groups(by_group),
            self._worst(evidence),
        ]

    def method(self, evidence: Evidence) -> tuple[str, ...]:
        """The definitions and their limits."""
        metrics = evidence.model.measured.metrics
        words = [
            "All figures are in the target's own units. R² is 1 less the squared errors as a share of the squared"
            " distances from the test rows' mean, so a model can be below 0.",
        ]
        if self._log1p:
            words.append("The network learnt the logarithm of 1 + target; its answers are brought back before they are"
                         " measured.")  # fmt: skip
        words += [f"{self.kinds[name].title} is not defined: {m.reason}." for name, m in metrics.items() if m.reason]
        return tuple(words)

    def _own(self, target: Array) -> Array:
        """The stored target in its own units, float64 [N]."""
        scaled = target.astype(np.float64) * self._std + self._mean
        found: Array = np.expm1(scaled) if self._log1p else scaled
        return found

    def _errors(self, evidence: Evidence) -> Section:
        target, predicted = self._own(evidence.target), evidence.scores.astype(np.float64)
        mean, spread = float((predicted - target).mean()), float(np.abs(predicted - target).max())
        tilt = "too high" if mean > 0 else "too low"
        lead = f"On average it answers {plain(abs(mean))} {tilt}; the worst answer is off by {plain(spread)}."
        pictures = (scatter_picture(target, predicted), residual_picture(target, predicted))
        return Section("How far off is it?", lead, pictures=pictures)

    def _groups(self, frame: pd.DataFrame) -> Section:
        header = ["Predicted", "test rows", "mean predicted", "mean true", "mean absolute error"]
        rows = [
            [f"{plain(row['from'])} to {plain(row['to'])}", f"{row['num_rows']:,}", plain(row["mean_predicted"]),
             plain(row["mean_target"]), plain(row["mae"])]
            for row in frame.to_dict("records")
        ]  # fmt: skip
        lead = "The rows in tenths, from the lowest answer to the highest. Orange is worse than all rows (dashed)."
        return Section("Where is it off?", lead, pictures=(group_picture(frame),), table=Table(header, rows))

    def _worst(self, evidence: Evidence) -> Section:
        target, predicted = self._own(evidence.target), evidence.scores.astype(np.float64)
        error = predicted - target
        worst = np.argsort(-np.abs(error), kind="stable")[: evidence.num_mistakes].tolist()
        cards = tuple(
            Card(
                preview,
                title=f"{plain(target[i])}\n→ {plain(predicted[i])}",
                detail=f"{plain(abs(error[i]))} too {'high' if error[i] > 0 else 'low'}",
                note=f"row {evidence.rows[i]}",
            )
            for i, preview in zip(worst, evidence.previews(worst), strict=True)
        )
        lead = f"The {len(cards)} of {evidence.num_rows:,} test rows that are off most, as true → answer."
        pictures = (gallery_picture(list(cards)),) if cards else ()
        return Section("What are its worst errors?", lead, cards=cards, pictures=pictures)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value

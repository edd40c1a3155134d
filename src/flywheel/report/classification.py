"""The report on a target that is one of several classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from flywheel.report.base import (
    Card,
    Evidence,
    Measured,
    MetricKind,
    Report,
    Section,
    Verdict,
    verdict_against,
)
from flywheel.report.bootstrap import Array, Bootstrap
from flywheel.report.calibration import reliability_frame, reliability_picture
from flywheel.report.class_metrics import AUC_CELLS, NUM_BINS, measure_classes
from flywheel.report.comparison import comparison_section
from flywheel.report.confusion import confusion_matrix, confusion_picture, confusions, in_words
from flywheel.report.curves import precision_frame, precision_picture, roc_frame, roc_picture
from flywheel.report.gallery import gallery_picture
from flywheel.report.per_class import class_frame, class_table, f1_picture

if TYPE_CHECKING:
    import pandas as pd

    from flywheel.report.baseline import BaselineData

KINDS = {
    "accuracy": MetricKind("Accuracy", "Share of test rows whose class is named right."),
    "precision_macro": MetricKind("Precision, macro", "How often a named class is right; mean over classes."),
    "recall_macro": MetricKind("Recall, macro", "How much of a class is found; mean over classes."),
    "f1_macro": MetricKind("F1, macro", "Harmonic mean of precision and recall; mean over classes."),
    "auc": MetricKind("AUC", "Chance that a row of a class is ranked above another row.", percent=False),
    "log_loss": MetricKind("Log-loss", "Mean surprise at the true class.", higher_is_better=False, percent=False),
    "ece": MetricKind("Calibration error", "Mean gap between confidence and accuracy.", higher_is_better=False),
}
COMPARED = ("accuracy", "f1_macro", "auc", "precision_macro", "log_loss", "ece")


class ClassificationReport(Report):
    """What evaluate does for classes.

    Args:
        classes: Names of the classes, by number.
    """

    kinds: ClassVar[dict[str, MetricKind]] = KINDS
    headline: ClassVar[str] = "accuracy"
    tiles: ClassVar[tuple[str, ...]] = ("accuracy", "f1_macro", "auc", "log_loss", "ece")

    def __init__(self, classes: list[str]) -> None:
        self._classes = [str(name) for name in classes]

    def measure(self, target: Array, scores: Array, bootstrap: Bootstrap) -> Measured:
        """Accuracy, precision, recall, F1, AUC, log-loss and calibration error; the per-class ones as parts."""
        return measure_classes(target, scores, bootstrap)

    def trivial(self, data: BaselineData) -> tuple[str, str, Array, str]:
        """The most frequent class of train, with train's shares as probabilities."""
        share = np.bincount(data.train.target, minlength=len(self._classes)) / data.train.num_rows
        name = self._classes[int(share.argmax())]
        note = f"Majority class always answers {name}, with train's class shares as probabilities."
        return "majority", "majority class", np.tile(share, (data.test.num_rows, 1)), note

    def verdict(self, evidence: Evidence) -> Verdict:
        """Accuracy in words, and by how much it differs from the best baseline's."""
        kind, metrics = self.kinds["accuracy"], evidence.model.measured.metrics
        value, between = kind.show(metrics["accuracy"].value), kind.show_interval(metrics["accuracy"])
        rows = f"{evidence.num_rows:,} test {'row' if evidence.num_rows == 1 else 'rows'}"
        start = f"The model names the right class for {value} of {rows}"
        start += f" (95% interval {between})" if between else ""
        return verdict_against(start, evidence, "accuracy", kind, lambda gap: f"{100 * gap:.1f} points")

    def predictions(self, evidence: Evidence) -> dict[str, Array]:
        """Row, true and predicted class (number and name), whether it is right, confidence, all probabilities."""
        scores, names = evidence.scores, np.array(self._classes, dtype=object)
        predicted = scores.argmax(axis=1)
        columns: dict[str, Array] = {
            "row": evidence.rows, "target": evidence.target, "predicted": predicted,
            "target_label": names[evidence.target], "predicted_label": names[predicted],
            "correct": predicted == evidence.target, "confidence": scores.max(axis=1),
        }  # fmt: skip
        return {**columns, **{f"probability_{k}": scores[:, k] for k in range(scores.shape[1])}}

    def tables(self, evidence: Evidence) -> dict[str, pd.DataFrame]:
        """The tables that `dvc plots` draws, and the per-class one."""
        import pandas as pd

        target, scores, names = evidence.target, evidence.scores, np.array(self._classes, dtype=object)
        pairs = {"actual": names[target], "predicted": names[scores.argmax(axis=1)]}
        return {
            "confusion": pd.DataFrame(pairs),
            "roc": roc_frame(target, scores, self._classes),
            "pr": precision_frame(target, scores, self._classes),
            "reliability": reliability_frame(target, scores),
            "per_class": class_frame(target, scores, self._classes, evidence.model.measured),
        }

    def sections(self, evidence: Evidence) -> list[Section]:
        """Baselines, confusions, classes, mistakes, calibration, curves."""
        tables = self.tables(evidence)
        return [
            comparison_section(evidence, self.kinds, COMPARED),
            self._confusions(evidence),
            self._classes_section(evidence, tables["per_class"]),
            self._mistakes(evidence),
            self._calibration(evidence, tables["reliability"]),
            self._curves(evidence, tables),
        ]

    def method(self, evidence: Evidence) -> tuple[str, ...]:
        """The definitions and their limits."""
        metrics = evidence.model.measured.metrics
        words = [
            "Macro means are over the classes that occur in the test set or in the predictions; a precision or recall"
            " of nothing counts as 0, as in scikit-learn.",
            "AUC is one class against the rest, ties counted half, mean over the classes that the test set can rank.",
            f"Calibration error is the expected calibration error over {NUM_BINS} bins of equal width (Guo et al. 2017,"
            " arXiv:1706.04599).",
        ]
        absent = sorted(set(range(len(self._classes))) - set(np.unique(evidence.target).tolist()))
        if absent:
            words.append(f"Classes without a test row: {', '.join(self._classes[k] for k in absent[:10])}.")
        words += [f"{self.kinds[name].title} is not defined: {m.reason}." for name, m in metrics.items() if m.reason]
        draws = metrics["auc"].draws
        if evidence.num_rows * len(self._classes) * len(draws) > AUC_CELLS:
            words.append(f"The interval of AUC rests on {np.isfinite(draws).sum():,} resamples, to save time.")
        if metrics["accuracy"].value == 1.0:
            words.append(
                "No row was answered wrong, so resampling cannot give an interval; by the rule of three the true"
                f" accuracy is likely above {max(0.0, 1 - 3 / evidence.num_rows):.1%}."
            )
        return tuple(words)

    def _confusions(self, evidence: Evidence) -> Section:
        matrix = confusion_matrix(evidence.target, evidence.scores.argmax(axis=1), len(self._classes))
        found = confusions(matrix)
        return Section(
            title="What does it confuse?",
            lead="Each row is a true class, each column what the model called it. Blue is right, orange is wrong;"
            " mistakes are shaded more strongly than their share, so that few are still seen."
            if found
            else "Nothing: every test row was answered right.",
            points=in_words(found, self._classes),
            pictures=(confusion_picture(matrix, self._classes),),
        )

    def _classes_section(self, evidence: Evidence, frame: pd.DataFrame) -> Section:
        measured = evidence.model.measured
        macro = measured.metrics["f1_macro"].value
        picture = f1_picture(self._classes, measured.parts["f1"], macro)
        lead = "Orange classes are below the mean of all classes (dashed)."
        return Section("Which classes are hard?", lead, pictures=(picture,), table=class_table(frame))

    def _mistakes(self, evidence: Evidence) -> Section:
        predicted, confidence = evidence.scores.argmax(axis=1), evidence.scores.max(axis=1)
        wrong = np.flatnonzero(predicted != evidence.target)
        worst = wrong[np.argsort(-confidence[wrong], kind="stable")][: evidence.num_mistakes].tolist()
        cards = tuple(
            Card(
                preview,
                title=f"{self._classes[evidence.target[i]]}\n→ {self._classes[predicted[i]]}",
                detail=f"{confidence[i]:.1%} sure",
                note=f"true {evidence.scores[i, evidence.target[i]]:.1%} · row {evidence.rows[i]}",
            )
            for i, preview in zip(worst, evidence.previews(worst), strict=True)
        )
        lead = (
            f"The {len(cards)} most confident of {len(wrong):,} mistakes, as true class → answer. Some may be wrong"
            " labels."
            if cards
            else "None: every test row was answered right."
        )
        pictures = (gallery_picture(list(cards)),) if cards else ()
        return Section("What are its worst mistakes?", lead, cards=cards, pictures=pictures)

    def _calibration(self, evidence: Evidence, frame: pd.DataFrame) -> Section:
        metrics = evidence.model.measured.metrics
        gap = float(evidence.scores.max(axis=1).mean()) - (metrics["accuracy"].value or 0.0)
        lead = f"On average it is {100 * abs(gap):.1f} points too {'sure' if gap > 0 else 'modest'}."
        if abs(gap) < 0.0005:
            lead = "On average it is as sure as it should be."
        picture = reliability_picture(frame, metrics["ece"].value)
        return Section("Can its confidence be trusted?", lead, pictures=(picture,))

    def _curves(self, evidence: Evidence, tables: dict[str, pd.DataFrame]) -> Section:
        measured = evidence.model.measured
        areas = [metric.value for metric in measured.parts["auc"]]
        precisions = [None if value != value else value for value in tables["per_class"]["average_precision"].tolist()]
        known = [value for value in precisions if value is not None]
        mean = sum(known) / len(known) if known else None
        pictures = (
            roc_picture(tables["roc"], areas, measured.metrics["auc"].value),
            precision_picture(tables["pr"], precisions, mean),
        )
        lead = "One class against the rest, at every threshold. Named are the classes that are hardest to tell apart."
        return Section("How do thresholds trade off?", lead, pictures=pictures, is_open=False)

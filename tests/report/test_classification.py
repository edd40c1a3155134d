from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.report.baseline import BaselineData
from flywheel.report.bootstrap import Bootstrap
from flywheel.report.classification import ClassificationReport

MakeEvidence = Callable[..., Any]
MakeExamples = Callable[..., Any]
NAMES = ["Shirt", "Bag", "Coat", "Boot"]


@pytest.fixture
def report() -> ClassificationReport:
    return ClassificationReport(NAMES)


def section(report: ClassificationReport, evidence: Any, title: str) -> Any:
    return next(one for one in report.sections(evidence) if one.title == title)


def test_verdict_on_a_model_that_is_clearly_better(report: ClassificationReport, make_evidence: MakeEvidence) -> None:
    verdict = report.verdict(make_evidence(skill=4.0, baseline_skill=1.0))
    assert verdict.tone == "good"
    assert verdict.badge == "Beats logistic regression"
    assert verdict.sentence.startswith("The model names the right class for 9")
    assert "of 300 test rows (95% interval 9" in verdict.sentence
    assert re.search(r"points more than logistic regression \(\+[\d.]+ to \+[\d.]+ points\)\.$", verdict.sentence)
    assert verdict.note == "Fitted on 7 rows."


def test_verdict_on_a_model_that_is_clearly_worse(report: ClassificationReport, make_evidence: MakeEvidence) -> None:
    verdict = report.verdict(make_evidence(skill=1.0, baseline_skill=4.0))
    assert (verdict.tone, verdict.badge) == ("bad", "Worse than logistic regression")
    assert re.search(r"points less than logistic regression \(−[\d.]+ to −[\d.]+ points\)\.$", verdict.sentence)


def test_verdict_on_a_model_that_is_no_better(report: ClassificationReport, make_evidence: MakeEvidence) -> None:
    verdict = report.verdict(make_evidence(skill=2.0, baseline_skill=2.0))
    assert (verdict.tone, verdict.badge) == ("even", "Not clearly better than logistic regression")


def test_verdict_without_a_baseline(report: ClassificationReport, make_evidence: MakeEvidence) -> None:
    assert report.verdict(make_evidence(baselines=[])).badge == "No baseline to compare with"


def test_the_trivial_baseline_answers_the_most_frequent_class(
    report: ClassificationReport, make_examples: MakeExamples
) -> None:
    train = make_examples("train", np.zeros((4, 2)), np.array([2, 2, 2, 0]))
    test = make_examples("test", np.zeros((5, 2)), np.zeros(5, np.int64))
    data = BaselineData(train, None, test, {"num_classes": 4}, ImagePreprocessor(), 0, 0)
    name, _, scores, note = report.trivial(data)
    assert name == "majority"
    assert scores.tolist() == [[0.25, 0, 0.75, 0]] * 5
    assert "always answers Coat" in note


def test_mistakes_are_the_most_confident_ones_first(report: ClassificationReport, make_evidence: MakeEvidence) -> None:
    target = np.array([0, 1, 2, 3])
    scores = np.array([[0.9, 0.1, 0, 0], [0.6, 0.4, 0, 0], [0, 0, 0.1, 0.9], [0.8, 0, 0, 0.2]], dtype=np.float32)
    shown: list[int] = []

    def previews(index: list[int]) -> list[Any]:
        from flywheel.project.types import Preview

        shown.extend(index)
        return [Preview(text=f"row {i}") for i in index]

    evidence = make_evidence(target=target, scores=scores, baselines=[], previews=previews, num_mistakes=2)
    found = section(report, evidence, "What are its worst mistakes?")
    assert shown == [2, 3]
    assert [card.title for card in found.cards] == ["Coat\n→ Boot", "Boot\n→ Shirt"]
    assert [card.detail for card in found.cards] == ["90.0% sure", "80.0% sure"]
    assert found.cards[0].note == "true 10.0% · row 1002"
    assert found.lead.startswith("The 2 most confident of 3 mistakes")


def test_a_perfect_model_has_no_mistakes_and_an_honest_note(
    report: ClassificationReport, make_evidence: MakeEvidence
) -> None:
    target = np.arange(300) % 4
    evidence = make_evidence(target=target, scores=np.eye(4, dtype=np.float32)[target], baselines=[])
    mistakes = section(report, evidence, "What are its worst mistakes?")
    assert (mistakes.cards, mistakes.pictures) == ((), ())
    assert mistakes.lead == "None: every test row was answered right."
    assert any("rule of three" in sentence and "above 99.0%" in sentence for sentence in report.method(evidence))


def test_what_the_test_set_lacks_is_stated(report: ClassificationReport, make_evidence: MakeEvidence) -> None:
    scores = np.tile(np.array([0.7, 0.1, 0.1, 0.1], dtype=np.float32), (10, 1))
    evidence = make_evidence(target=np.zeros(10, dtype=np.int64), scores=scores, baselines=[])
    sentences = report.method(evidence)
    assert "Classes without a test row: Bag, Coat, Boot." in sentences
    assert "AUC is not defined: the test set holds one class only." in sentences
    assert report.sections(evidence)  # all of it can still be drawn


@pytest.mark.parametrize(("num_classes", "num_rows"), [(2, 50), (50, 400)])
def test_two_and_fifty_classes_can_be_shown(make_evidence: MakeEvidence, num_classes: int, num_rows: int) -> None:
    report = ClassificationReport([f"class {k}" for k in range(num_classes)])
    sections = report.sections(make_evidence(num_classes=num_classes, num_rows=num_rows, skill=0.5))
    names = [picture.name for one in sections for picture in one.pictures]
    assert names == ["baselines", "confusion", "per_class", "mistakes", "reliability", "roc", "pr"]


def test_predictions_hold_numbers_and_names(report: ClassificationReport, make_evidence: MakeEvidence) -> None:
    evidence = make_evidence()
    columns = report.predictions(evidence)
    assert list(columns)[:7] == [
        "row", "target", "predicted", "target_label", "predicted_label", "correct", "confidence",
    ]  # fmt: skip
    assert columns["row"][0] == 1000
    assert columns["correct"].mean() == pytest.approx(evidence.model.measured.metrics["accuracy"].value)
    assert columns["predicted_label"][5] == NAMES[evidence.scores[5].argmax()]
    assert (columns["probability_2"] == evidence.scores[:, 2]).all()


def test_confusion_table_has_a_row_for_each_test_row(report: ClassificationReport, make_evidence: MakeEvidence) -> None:
    evidence = make_evidence()
    frame = report.tables(evidence)["confusion"]
    assert list(frame) == ["actual", "predicted"]
    assert len(frame) == 300
    assert frame["actual"][3] == NAMES[evidence.target[3]]


def test_every_kind_is_measured_and_nothing_else(report: ClassificationReport, make_evidence: MakeEvidence) -> None:
    evidence = make_evidence()
    found = report.measure(evidence.target, evidence.scores, Bootstrap(300, 0, 0)).metrics
    assert list(found) == list(report.kinds)
    assert {report.headline, *report.tiles} <= set(report.kinds)
    assert all(metric.low is None for metric in found.values())  # no draws, no intervals

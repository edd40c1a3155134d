from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flywheel.project.types import Preview
from flywheel.report import style
from flywheel.report.base import Contender, Evidence
from flywheel.report.baseline import BaselineData
from flywheel.report.bootstrap import Bootstrap
from flywheel.report.page import Heading, render_page
from flywheel.report.regression import RegressionReport
from flywheel.report.regression_pictures import plain

MEAN, STD = 150.0, 70.0
MakeEvidence = Callable[..., Evidence]


@pytest.fixture
def report() -> RegressionReport:
    return RegressionReport(MEAN, STD)


@pytest.fixture
def make_evidence(report: RegressionReport) -> MakeEvidence:
    def make(noise: float = 30.0, rival_noise: float = 60.0, num_rows: int = 120, rivals: bool = True) -> Evidence:
        random = np.random.default_rng(0)
        own = random.normal(MEAN, STD, num_rows)
        target = ((own - MEAN) / STD).astype(np.float32)
        bootstrap = Bootstrap(num_rows, 100, 0)
        scores = (own + random.normal(0, noise, num_rows)).astype(np.float32)
        model = Contender("model", "this model", report.measure(target, scores, bootstrap))
        measured = report.measure(target, own + random.normal(0, rival_noise, num_rows), bootstrap)
        apart = {name: metric.minus(measured.metrics[name]) for name, metric in model.measured.metrics.items()}
        rival = Contender("gradient_boosting", "gradient boosting", measured, "Fitted on 7 rows.", apart)

        def previews(index: list[int]) -> list[Preview]:
            return [Preview(text=f"age: {i}\ntown: <Ulm>") for i in index]

        return Evidence(target, scores, np.arange(num_rows) + 1000, model, [rival] if rivals else [], previews, 5)

    return make


def test_the_target_is_measured_in_its_own_units(report: RegressionReport, make_evidence: MakeEvidence) -> None:
    evidence = make_evidence()
    columns = report.predictions(evidence)
    assert list(columns) == ["row", "target", "predicted", "error"]
    assert columns["target"].mean() == pytest.approx(MEAN, abs=20)
    rmse = math.sqrt(np.mean(columns["error"] ** 2))
    assert evidence.model.measured.metrics["rmse"].value == pytest.approx(rmse)
    assert rmse == pytest.approx(30, rel=0.2)


def test_logarithms_are_taken_back() -> None:
    own = np.array([0.0, 9.0, 99.0])
    found = RegressionReport(0, 1, target_log1p=True).measure(np.log1p(own), own, Bootstrap(3, 0, 0))
    assert found.metrics["rmse"].value == pytest.approx(0, abs=1e-9)


def test_train_mean_is_the_trivial_baseline(report: RegressionReport, make_examples: Callable[..., Any]) -> None:
    part = make_examples("train", np.zeros((4, 1)), np.array([-1, 0, 0, 3]))
    data = BaselineData(part, None, part, meta={}, preprocessor=None, max_rows=0, seed=0)  # type: ignore[arg-type]
    name, _, scores, note = report.trivial(data)
    assert name == "mean"
    assert scores.tolist() == [MEAN + STD / 2] * 4
    assert "always answers 185.0; train's median is 150.0" in note


@pytest.mark.parametrize(
    ("noise", "rival", "tone", "words"),
    [
        (20.0, 60.0, "good", "less than gradient boosting"),
        (60.0, 20.0, "bad", "more than gradient boosting"),
        (30.0, 30.0, "even", "gradient boosting is as good, as far as these rows can tell"),
    ],
)
def test_verdict(
    report: RegressionReport, make_evidence: MakeEvidence, noise: float, rival: float, tone: str, words: str
) -> None:
    verdict = report.verdict(make_evidence(noise, rival))
    assert verdict.tone == tone
    assert words in verdict.sentence
    assert verdict.sentence.startswith("The model is off by ")
    alone = report.verdict(make_evidence(noise, rivals=False))
    assert alone.badge == "No baseline to compare with"


def test_tables(report: RegressionReport, make_evidence: MakeEvidence) -> None:
    evidence = make_evidence()
    tables = report.tables(evidence)
    groups = tables["error_by_prediction"]
    assert groups["num_rows"].tolist() == [12] * 10
    assert (groups["from"] <= groups["to"]).all()
    weighted = np.average(groups["mae"], weights=groups["num_rows"])
    assert weighted == pytest.approx(evidence.model.measured.metrics["mae"].value)
    assert len(tables["predicted"]) == 120


def test_the_worst_errors_come_first(report: RegressionReport, make_evidence: MakeEvidence) -> None:
    evidence = make_evidence()
    cards = report.sections(evidence)[-1].cards
    error = report.predictions(evidence)["error"]
    worst = int(np.abs(error).argmax())
    assert len(cards) == 5
    assert cards[0].note == f"row {1000 + worst}"
    assert cards[0].detail == f"{plain(abs(error[worst]))} too {'high' if error[worst] > 0 else 'low'}"
    assert str(cards[0].preview.text).startswith(f"age: {worst}")


@pytest.mark.parametrize("num_rows", [1, 2, 120])
def test_the_page_holds_everything(
    report: RegressionReport, make_evidence: MakeEvidence, num_rows: int, tmp_path: Any
) -> None:
    evidence = make_evidence(num_rows=num_rows)
    sections = report.sections(evidence)
    page = render_page(Heading("toy", "Toy", {}), report, evidence, sections, list(report.method(evidence)))
    assert "Median error" in page
    assert "&lt;Ulm&gt;" in page
    for picture in (one for section in sections for one in section.pictures):
        style.save_png(picture.figure, tmp_path / f"{picture.name}.png")
        assert picture.alt
    if num_rows == 1:
        assert any("R² is not defined: all test rows" in line for line in report.method(evidence))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.0000"), (53.1269, "53.13"), (0.71239, "0.7124"), (-3.24188, "−3.242"), (1234.56, "1,235"),
     (1e7, "1.000e+07"), (-1e-5, "−1.000e−05"), (float("nan"), "not finite")],
)  # fmt: skip
def test_numbers_of_any_size(value: float, text: str) -> None:
    assert plain(value) == text

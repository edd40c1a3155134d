from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flywheel.modality.interactions.report import RankingReport
from flywheel.project.types import Preview
from flywheel.report import style
from flywheel.report.base import Contender, Evidence
from flywheel.report.baseline import BaselineData
from flywheel.report.bootstrap import Bootstrap
from flywheel.report.examples import Examples
from flywheel.report.page import Heading, render_page
from flywheel.report.predictions import write_predictions

Array = np.ndarray[Any, Any]
NUM_ROWS, NUM_ITEMS = 200, 60


@pytest.fixture
def report() -> RankingReport:
    counts = [300 // (1 + column) for column in range(NUM_ITEMS)]
    items = [f"i{column}" for column in range(NUM_ITEMS)]
    return RankingReport(items, counts, [f"Film {column}" for column in range(NUM_ITEMS)])


def scores_of(target: Array, skill: float, seed: int) -> Array:
    """Shares of a catalogue that favour the target by `skill`, some other items ruled out."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(len(target), NUM_ITEMS)) + skill * np.eye(NUM_ITEMS)[target]
    raised = np.exp(logits)
    for row, wanted in enumerate(target):
        raised[row, np.delete(np.arange(NUM_ITEMS), wanted)[: row % 20]] = 0
    return raised / raised.sum(axis=1, keepdims=True)


def make(report: RankingReport, skill: float = 2.0, rival: float = 0.5, num_mistakes: int = 6) -> Evidence:
    target = np.random.default_rng(1).integers(0, NUM_ITEMS, NUM_ROWS)
    bootstrap = Bootstrap(NUM_ROWS, 200, 0)
    model = Contender("model", "this model", report.measure(target, scores_of(target, skill, 2), bootstrap))
    other = report.measure(target, scores_of(target, rival, 3), bootstrap)
    apart = {name: metric.minus(other.metrics[name]) for name, metric in model.measured.metrics.items()}
    baseline = Contender("item_knn", "item-kNN", other, "Item-kNN used 7 interactions.", apart)
    return Evidence(
        target, scores_of(target, skill, 2), np.arange(NUM_ROWS) + 1000, model, [baseline],
        lambda index: [Preview(text=f"user {i} had Film 1") for i in index], num_mistakes,
    )  # fmt: skip


def test_every_kind_of_metric_is_measured(report: RankingReport) -> None:
    metrics = make(report).model.measured.metrics
    assert set(metrics) == set(report.kinds)
    assert set(report.tiles) <= set(report.kinds)
    assert all(metric.value is not None for metric in metrics.values())


def test_the_verdict_compares_with_the_best_baseline(report: RankingReport) -> None:
    good, bad = report.verdict(make(report)), report.verdict(make(report, skill=0.5, rival=2.0))
    even = report.verdict(make(report, skill=1.0, rival=1.0))
    assert (good.tone, good.badge) == ("good", "Beats item-kNN")
    assert (bad.tone, bad.badge) == ("bad", "Worse than item-kNN")
    assert even.tone == "even"
    assert "of 200 test users (95% interval" in good.sentence
    assert "the first 10 of 60" in good.sentence
    assert good.note == "Item-kNN used 7 interactions."


def test_popularity_is_the_trivial_baseline_without_the_history(report: RankingReport, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    inputs = {"history": {"dtype": "int16", "shape": [3]}}
    made = {}
    for name, history, target in (
        ("train", [[0, 0, 0]] * 4, [4, 2, 4, 9]),
        ("test", [[5, 0, 0], [0, 0, 0]], [2, 4]),
    ):
        arrays = {"history": np.array(history, np.int16), "target": np.array(target), "row": np.arange(len(target))}
        save_file(arrays, tmp_path / f"{name}.safetensors")
        made[name] = Examples(tmp_path / f"{name}.safetensors", inputs)
    data = BaselineData(made["train"], None, made["test"], {}, None, 0, 0)  # type: ignore[arg-type]
    name, _, scores, _ = report.trivial(data)
    assert name == "popularity"
    assert scores[1, [4, 2, 9, 0]].tolist() == [3, 2, 2, 1]
    assert scores[0, 4] == 0
    assert (scores[0, np.arange(NUM_ITEMS) != 4] > 0).all()


def test_predictions_hold_the_wanted_item_its_place_and_the_list(report: RankingReport, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    evidence = make(report)
    columns = report.predictions(evidence)
    write_predictions(columns, tmp_path / "predictions.parquet")
    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert next(iter(rows[0])) == "row"
    for row, wanted, scores in zip(rows, evidence.target.tolist(), evidence.scores, strict=True):
        assert row["target_item"] == f"i{wanted}"
        assert row["rank"] == 1 + (scores > scores[wanted]).sum()
        assert row["hit_10"] == (row["target_item"] in row["items"])
        assert len(row["items"]) == 10


def test_tables_add_up(report: RankingReport) -> None:
    evidence = make(report)
    tables, metrics = report.tables(evidence), evidence.model.measured.metrics
    assert tables["hit_rate"].set_index("k").loc[10, "model"] == metrics["hit_rate_10"].value
    assert tables["activity"]["num_rows"].sum() == NUM_ROWS
    weighted = (tables["activity"]["ndcg_10"] * tables["activity"]["num_rows"]).sum() / NUM_ROWS
    assert weighted == pytest.approx(metrics["ndcg_10"].value)
    shares = tables["popularity"][["train", "wanted", "shown"]].sum()
    assert shares.tolist() == pytest.approx([1, 1, 1])
    assert tables["popularity"]["train"].is_monotonic_decreasing
    assert tables["items"]["num_hits"].sum() == round((metrics["hit_rate_10"].value or 0) * NUM_ROWS)
    assert (tables["items"]["num_shown"] > 0).mean() == metrics["coverage_10"].value


def test_the_page_shows_examples_of_what_it_missed(report: RankingReport, tmp_path: Path) -> None:
    evidence = make(report)
    sections = report.sections(evidence)
    cards = sections[-1].cards
    assert len(cards) == 6
    assert cards[0].title.startswith("Film ")
    assert cards[0].note.startswith("shown instead: Film ")
    places = [float(card.detail.removeprefix("place ")) for card in cards]
    assert places == sorted(places)
    assert places[0] > 10
    for picture in (one for section in sections for one in section.pictures):
        style.save_png(picture.figure, tmp_path / f"{picture.name}.png")
        assert picture.alt
    page = render_page(Heading("films", "Films", {}), report, evidence, sections, list(report.method(evidence)))
    assert "Popularity bias" in page
    assert "no sample of negatives" in page


def test_a_perfect_ranking_has_no_mistakes_to_show(report: RankingReport) -> None:
    sections = report.sections(make(report, skill=60.0))
    assert sections[-1].cards == ()
    assert "every user's next item" in sections[-1].lead


def test_lists_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        RankingReport(["a", "b"], [1])

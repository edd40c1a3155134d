from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from flywheel.modality.interactions.metrics import coverage, lists_of, measure_ranking, ranks_of
from flywheel.report.bootstrap import Bootstrap

Array = np.ndarray[Any, Any]
COUNTS = [40, 30, 20, 10, 8, 6, 4, 3, 2, 1, 1, 1, 1, 1, 1]


@pytest.fixture
def ranking() -> tuple[Array, Array]:
    """Targets and scores with ties, some items ruled out in each row."""
    random = np.random.default_rng(0)
    scores = random.integers(1, 9, (40, 15)).astype(np.float32)
    target = random.integers(0, 15, 40)
    for row, wanted in enumerate(target):
        scores[row, random.permutation(np.delete(np.arange(15), wanted))[:3]] = 0
    return target, scores


def slow(target: list[int], scores: list[list[float]]) -> dict[str, float]:
    """The metrics by plain loops."""
    hits, gains, reciprocals, shown, wanted, everybodys = [], [], [], [], [], set()
    for item, row in zip(target, scores, strict=True):
        rank = sum(s > row[item] for s in row) + (sum(s == row[item] for s in row) - 1) / 2
        hits.append(rank < 10)
        gains.append(1 / math.log2(rank + 2) if rank < 10 else 0.0)
        reciprocals.append(1 / (1 + rank))
        best = sorted((column for column, s in enumerate(row) if s > 0), key=lambda c: (-row[c], c))[:10]
        everybodys.update(best)
        shown.append(sum(COUNTS[column] for column in best) / len(best))
        wanted.append(COUNTS[item])
    mean = len(target)
    return {
        "hit_rate_10": sum(hits) / mean, "ndcg_10": sum(gains) / mean, "mrr": sum(reciprocals) / mean,
        "coverage_10": len(everybodys) / len(COUNTS), "popularity_bias": sum(shown) / sum(wanted),
    }  # fmt: skip


def test_metrics_are_those_of_plain_loops(ranking: tuple[Array, Array]) -> None:
    target, scores = ranking
    measured = measure_ranking(target, scores, Bootstrap(40, 0, 0), COUNTS)
    found = {name: metric.value for name, metric in measured.metrics.items()}
    assert found == pytest.approx(slow(target.tolist(), scores.tolist()))
    assert measured.parts["hit_rate"][9].value == measured.metrics["hit_rate_10"].value
    assert measured.metrics["ndcg_10"].low is None


def test_draws_are_the_metrics_of_the_resampled_rows(ranking: tuple[Array, Array]) -> None:
    target, scores = ranking
    bootstrap = Bootstrap(40, 20, 0)
    metrics = measure_ranking(target, scores, bootstrap, COUNTS).metrics
    weights = np.concatenate(list(bootstrap.blocks()), axis=1)
    for draw in (0, 19):
        rows = np.repeat(np.arange(40), weights[:, draw].astype(int))
        wanted = slow(target[rows].tolist(), scores[rows].tolist())
        for name in ("hit_rate_10", "ndcg_10", "mrr", "popularity_bias"):
            assert metrics[name].draws[draw] == pytest.approx(wanted[name])
    assert metrics["coverage_10"].low is None
    assert metrics["ndcg_10"].low < metrics["ndcg_10"].value < metrics["ndcg_10"].high


def test_ranks_of_many_rows_are_those_of_few(ranking: tuple[Array, Array]) -> None:
    target, scores = np.tile(ranking[0], 20), np.tile(ranking[1], (20, 1))
    assert np.array_equal(ranks_of(target, scores), np.tile(ranks_of(*ranking), 20))


def test_lists_hold_nothing_that_was_ruled_out() -> None:
    lists = lists_of(np.array([[0.0, 0.4, 0.6], [0.0, 0.0, 0.0]]))
    assert [items.tolist() for items in lists] == [[2, 1], []]
    assert coverage(lists, 4) == 0.5

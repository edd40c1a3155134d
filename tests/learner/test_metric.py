from __future__ import annotations

import math

import pytest
import torch
from torchmetrics import MetricCollection

from flywheel.learner.metric import MRR, NDCG, HitRate, ranks_of


def slow_ranks(logits: list[list[float]], target: list[int]) -> list[float]:
    """Better ones, and half of the others that are as good, by plain loops."""
    found = []
    for row, wanted in zip(logits, target, strict=True):
        better = sum(score > row[wanted] for score in row)
        equal = sum(score == row[wanted] for score in row) - 1
        found.append(better + equal / 2)
    return found


@pytest.fixture
def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for rows in (7, 1, 12):
        logits = torch.randint(0, 9, (rows, 25), generator=generator).float()  # few values: many ties
        made.append((logits, torch.randint(0, 25, (rows,), generator=generator)))
    return made


def test_metrics_over_batches_are_those_of_plain_python(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    ranks = [rank for logits, target in batches for rank in slow_ranks(logits.tolist(), target.tolist())]
    wanted = {
        "hit_rate_1": sum(rank < 1 for rank in ranks) / len(ranks),
        "hit_rate_10": sum(rank < 10 for rank in ranks) / len(ranks),
        "ndcg_10": sum(1 / math.log2(rank + 2) for rank in ranks if rank < 10) / len(ranks),
        "mrr": sum(1 / (1 + rank) for rank in ranks) / len(ranks),
    }
    metrics = {"hit_rate_1": HitRate(1), "hit_rate_10": HitRate(10), "ndcg_10": NDCG(10), "mrr": MRR()}
    collection = MetricCollection(metrics).clone()
    for logits, target in batches:
        collection.update(logits, target)
    assert {name: value.item() for name, value in collection.compute().items()} == pytest.approx(wanted)
    collection.reset()
    collection.update(*batches[0])
    assert collection.compute()["mrr"].item() != pytest.approx(wanted["mrr"])


def test_a_first_batch_without_a_hit_does_not_make_two_metrics_one() -> None:
    collection = MetricCollection({"one": HitRate(1), "ten": HitRate(10), "gain": NDCG(10)})
    logits = torch.arange(30.0).repeat(2, 1)
    collection.update(logits, torch.tensor([0, 1]))
    collection.update(logits, torch.tensor([25, 29]))
    assert {name: value.item() for name, value in collection.compute().items()} == pytest.approx(
        {"one": 0.25, "ten": 0.5, "gain": (1 + 1 / math.log2(6)) / 4}
    )


def test_one_score_for_all_is_no_good_ranking() -> None:
    assert ranks_of(torch.zeros(1, 101), torch.tensor([0])).tolist() == [50.0]


def test_k_must_be_at_least_one() -> None:
    for kind in (HitRate, NDCG):
        with pytest.raises(ValueError, match="at least 1"):
            kind(0)

from __future__ import annotations

import pytest
import torch

from flywheel.modality.interactions.augment import NegativeSampling

HISTORY = torch.tensor([[1, 2, 3, 0], [0, 0, 0, 0], [6, 5, 0, 0]], dtype=torch.int16)
TARGET = torch.tensor([3, 0, 5])


def sampled(sampling: NegativeSampling, times: int) -> torch.Tensor:
    """Negatives of many draws, [3, times * num_negatives]."""
    found = []
    for _ in range(times):
        inputs, target = sampling({"history": HISTORY, "user": torch.arange(3)}, TARGET)
        assert target.tolist() == [0, 0, 0]
        assert inputs["candidates"][:, 0].tolist() == TARGET.tolist()
        assert inputs["user"].tolist() == [0, 1, 2]
        found.append(inputs["candidates"][:, 1:])
    return torch.cat(found, dim=1)


def test_negatives_are_items_that_the_row_has_neither_had_nor_wants() -> None:
    torch.manual_seed(0)
    drawn = sampled(NegativeSampling(8, num_negatives=5, num_tries=30), 100)
    wanted = [{4, 5, 6, 7}, {1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 3, 6, 7}]
    assert [set(row) for row in drawn.tolist()] == wanted


def test_one_seed_gives_one_draw() -> None:
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(sampled(NegativeSampling(8), 1).tolist())
    assert draws[0] == draws[1]


def test_uniform_draws_are_even_and_popular_ones_follow_the_counts() -> None:
    torch.manual_seed(0)
    history, target = torch.zeros(1, 1, dtype=torch.int16), torch.tensor([3])
    shares = {}
    for by in ("uniform", "popularity"):
        sampling = NegativeSampling(4, 30_000, by=by, item_counts=[16, 1, 81, 5], num_tries=20)
        candidates = sampling({"history": history}, target)[0]["candidates"][0, 1:]
        shares[by] = torch.bincount(candidates, minlength=4) / len(candidates)
    torch.testing.assert_close(shares["uniform"], torch.tensor([1, 1, 1, 0]) / 3, atol=0.02, rtol=0)
    torch.testing.assert_close(shares["popularity"], torch.tensor([8, 1, 27, 0]) / 36, atol=0.02, rtol=0)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="by must be"):
        NegativeSampling(8, by="rating")
    with pytest.raises(ValueError, match="item_counts of all 8 items"):
        NegativeSampling(8, by="popularity")
    with pytest.raises(ValueError, match="are required"):
        NegativeSampling(8, num_negatives=0)

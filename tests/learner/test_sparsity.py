from __future__ import annotations

import pytest
import torch
from torch import nn

from flywheel.learner.sparsity import Sparsity, prunable, prune
from flywheel.project.config import PruneConfig


def test_the_smallest_weights_of_all_layers_become_zero_and_biases_stay() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(40, 30), nn.BatchNorm1d(30), nn.Linear(30, 20), nn.Linear(20, 2))
    with torch.no_grad():
        network[2].weight.mul_(10)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    prune(network, 0.6)
    weights = prunable(network)
    assert [tuple(w.shape) for w in weights] == [(30, 40), (20, 30)]
    zeros = sum(int((w == 0).sum()) for w in weights)
    assert zeros == int(0.6 * sum(w.numel() for w in weights))
    assert (weights[0] == 0).float().mean() > (weights[1] == 0).float().mean()
    for name in ("0.bias", "1.weight", "3.weight"):
        assert torch.equal(network.state_dict()[name], before[name])
    kept = network.state_dict()["0.weight"] != 0
    assert torch.equal(network.state_dict()["0.weight"][kept], before["0.weight"][kept])


def test_the_share_rises_to_the_end_of_its_time_and_stays() -> None:
    sparsity = Sparsity(PruneConfig("magnitude", 0.8, 0.5), 100)
    shares = [sparsity.share_at(step) for step in (0, 10, 25, 50, 100)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-2:] == [0.8, 0.8]
    assert shares[2] == pytest.approx(0.8 * (1 - 0.5**3))


def test_nothing_to_prune_is_no_error() -> None:
    prune(nn.Linear(2, 2), 0.5)
    prune(nn.Linear(100, 100), 0.0)

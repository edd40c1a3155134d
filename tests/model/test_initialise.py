"""The weights that a training begins with; each of the ways is checked by what its paper or library says of it."""

import math

import torch
from torch import nn

from flywheel.model.initialise import initialise


def test_keras_weights() -> None:
    torch.manual_seed(0)
    net = nn.ModuleList([nn.Linear(30, 50), nn.Embedding(200, 8), nn.LSTM(6, 16)])
    initialise(net, "keras")
    dense, words, lstm = net
    assert isinstance(dense, nn.Linear)
    assert isinstance(words, nn.Embedding)
    assert isinstance(lstm, nn.LSTM)
    bound = math.sqrt(6 / 80)
    assert 0.95 * bound < dense.weight.abs().max() <= bound
    assert not dense.bias.any()
    assert 0.049 < words.weight.abs().max() <= 0.05
    torch.testing.assert_close(lstm.weight_hh_l0.T @ lstm.weight_hh_l0, torch.eye(16), atol=1e-5, rtol=0)
    assert lstm.weight_ih_l0.abs().max() <= math.sqrt(6 / (6 + 64))
    forget = torch.zeros(64)
    forget[16:32] = 1
    assert torch.equal(lstm.bias_ih_l0 + lstm.bias_hh_l0, forget)


def test_xavier_leaves_other_layers_alone() -> None:
    torch.manual_seed(0)
    net = nn.ModuleList([nn.Linear(30, 50), nn.Embedding(200, 8)])
    before = net[1].weight.clone()
    initialise(net, "xavier")
    assert torch.equal(before, net[1].weight)
    assert net[0].weight.abs().max() <= math.sqrt(6 / 80)

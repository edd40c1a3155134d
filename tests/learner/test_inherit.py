from __future__ import annotations

import pytest
import torch
from torch import nn

from flywheel.learner.inherit import inherit
from flywheel.model.cnn import CNN
from flywheel.model.mlp import MLP
from flywheel.model.network import Network
from flywheel.project.errors import ModelError

INPUTS = {"image": {"shape": [1, 8, 8]}}


def cnn(*widths: int) -> Network:
    network = Network(CNN(1, 3, widths), INPUTS)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.weight)
    return network.eval()


def mlp(*hidden: int) -> Network:
    return Network(MLP(64, 3, hidden), INPUTS).eval()


def silence(layer: nn.Module, norm: nn.Module | None, num_silent: int) -> None:
    """Make the first channels of a layer say nothing, so that a network without them must answer the same."""
    with torch.no_grad():
        for owner in (layer, norm):
            if owner is not None:
                owner.weight[:num_silent] = 0  # type: ignore[operator]
                if owner.bias is not None:
                    owner.bias[:num_silent] = 0  # type: ignore[operator,index]


def test_a_picture_network_without_its_silent_channels_answers_the_same() -> None:
    torch.manual_seed(0)
    wide, narrow = cnn(8, 12), cnn(5, 6)
    layers = list(wide.net.features)  # type: ignore[arg-type]
    silence(layers[0], layers[2], 3)
    silence(layers[4], layers[6], 6)
    inherit(narrow, wide)
    image = torch.randn(4, 1, 8, 8)
    assert torch.allclose(narrow(image=image), wide(image=image), atol=1e-5)


def test_a_layered_network_without_its_silent_units_answers_the_same() -> None:
    torch.manual_seed(0)
    wide, narrow = mlp(20, 16), mlp(12, 7)
    linear = [module for module in wide.net.modules() if isinstance(module, nn.Linear)]
    silence(linear[0], None, 8)
    silence(linear[1], None, 9)
    inherit(narrow, wide)
    image = torch.randn(4, 1, 8, 8)
    assert torch.allclose(narrow(image=image), wide(image=image), atol=1e-5)


def test_networks_that_do_not_match_are_refused() -> None:
    for network, parent, words in (
        (cnn(4), cnn(8, 8), "layers with weights, not"),
        (cnn(9, 4), cnn(8, 8), "where the parent has"),
        (mlp(4), cnn(8), "layers with weights, not"),
        (Network(nn.Embedding(3, 2), {}), mlp(4), "a Embedding, of which no channels can be taken"),
    ):
        with pytest.raises(ModelError, match=words):
            inherit(network, parent)

import pytest
import torch

from flywheel.model.mlp import MLP


def test_the_reference_network_has_its_published_size() -> None:
    assert sum(p.numel() for p in MLP(784, 10).parameters()) == 784 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10


def test_several_inputs_are_joined() -> None:
    net = MLP(20, 3)
    a, b = torch.rand(2, 2, 2, 2), torch.rand(2, 12)
    assert torch.equal(net(a=a, b=b), net(x=torch.cat([a.flatten(1), b], 1)))


def test_dropout_drops_in_training_only() -> None:
    net = MLP(8, 2, dropout=0.5)
    x = torch.rand(64, 8)
    assert not torch.equal(net(x=x), net(x=x))
    net.eval()
    assert torch.equal(net(x=x), net(x=x))


def test_unknown_activation_is_named() -> None:
    with pytest.raises(ValueError, match="relu, gelu, sigmoid, tanh"):
        MLP(4, 2, activation="rely")

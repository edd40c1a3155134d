"""What weights a training begins with: drawn in one of several ways, or pretrained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from flywheel.project.config import Initialisation


def _layers(draw: Callable[[Tensor], object]) -> Callable[[nn.Module], None]:
    """Draw the weights of linear and convolutional layers; their biases become 0."""

    def draw_layer(layer: nn.Module) -> None:
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            draw(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    return draw_layer


def _kaiming(weight: Tensor) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def _normal(weight: Tensor) -> None:
    nn.init.normal_(weight, std=0.02)


def _keras(layer: nn.Module) -> None:
    _layers(nn.init.xavier_uniform_)(layer)
    if isinstance(layer, nn.Embedding):
        nn.init.uniform_(layer.weight, -0.05, 0.05)
    elif isinstance(layer, nn.LSTM):
        for name, parameter in layer.named_parameters():
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(parameter)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(parameter)
            else:
                nn.init.zeros_(parameter)
                if name.startswith("bias_ih"):  # PyTorch adds two biases; the forget gate's sum is 1
                    nn.init.ones_(parameter.detach().chunk(4)[1])


INITIALISATIONS: dict[Initialisation, Callable[[nn.Module], None] | None] = {
    "default": None,
    "xavier": _layers(nn.init.xavier_uniform_),
    "kaiming": _layers(_kaiming),
    "normal": _layers(_normal),
    "keras": _keras,
}


def initialise(net: nn.Module, how: Initialisation) -> None:
    """Draw the weights of a net's layers anew, from PyTorch's global generator; biases become 0.

    Then every part of the net that has a method `load_pretrained` loads its pretrained weights: only a training needs
    them, for a trained network has its own. They may come from the network, or from the store.

    Args:
        net: The net, changed in place.
        how: `default` (PyTorch's own, nothing is done); for linear and convolutional layers `xavier` (Glorot & Bengio
            2010, uniform), `kaiming` (He et al. 2015, arXiv:1502.01852, normal) or `normal` (deviation 0.02, as in
            Radford et al. 2018); `keras` (what Keras' layers begin with: Glorot uniform, embeddings uniform within
            0.05, LSTMs with orthogonal recurrent weights and a forget gate open by 1).

    Raises:
        ConfigError: Pretrained weights are named wrongly.
        ModelError: Pretrained weights do not fit the net.
        SourceError: Pretrained weights cannot be had.
    """
    draw = INITIALISATIONS[how]
    if draw is not None:
        for layer in net.modules():
            draw(layer)
    for part in net.modules():
        load = getattr(part, "load_pretrained", None)
        if callable(load):
            load()

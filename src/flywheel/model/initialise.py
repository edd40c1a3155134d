"""What weights a training begins with: drawn in one of several ways, or pretrained."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from flywheel.errors import ConfigError, nearest


def _xavier(weight: Tensor) -> None:
    nn.init.xavier_uniform_(weight)


def _kaiming(weight: Tensor) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def _normal(weight: Tensor) -> None:
    nn.init.normal_(weight, std=0.02)


INITIALISATIONS: dict[str, Callable[[Tensor], None] | None] = {
    "default": None,
    "xavier": _xavier,
    "kaiming": _kaiming,
    "normal": _normal,
}


def initialise(net: nn.Module, how: str) -> None:
    """Draw the weights of every linear and convolutional layer anew, from PyTorch's global generator; biases become 0.

    Then every part of the net that has a method `load_pretrained` loads its pretrained weights: only a training needs
    them, for a trained network has its own. They may come from the network, or from the store.

    Args:
        net: Changed in place.
        how: `default` (PyTorch's own, nothing is done), `xavier` (Glorot & Bengio 2010, uniform), `kaiming` (He et
            al. 2015, arXiv:1502.01852, normal) or `normal` (deviation 0.02, as in Radford et al. 2018).

    Raises:
        ConfigError: `how` is none of these, or pretrained weights are named wrongly.
        ModelError: Pretrained weights do not fit the net.
        SourceError: Pretrained weights cannot be had.
    """
    if how not in INITIALISATIONS:
        raise ConfigError(f"no initialisation '{how}'", where="model.init", mend=nearest(how, INITIALISATIONS))
    draw = INITIALISATIONS[how]
    if draw is not None:
        _draw_all(net, draw)
    for part in net.modules():
        load = getattr(part, "load_pretrained", None)
        if callable(load):
            load()


def _draw_all(net: nn.Module, draw: Callable[[Tensor], None]) -> None:
    for layer in net.modules():
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            draw(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

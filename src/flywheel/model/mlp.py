"""A fully connected network over the flattened inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


class MLP(nn.Module):
    """Linear layers with one activation between; several inputs are flattened and joined in their given order.

    Args:
        num_features: Numbers a row has, over all inputs.
        num_outputs: Number of outputs.
        hidden: Width of each hidden layer.
        activation: relu, gelu, sigmoid or tanh.
        dropout: Probability of dropping a hidden unit, in [0, 1).

    Raises:
        ValueError: The activation is not known.
    """

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        hidden: Sequence[int] = (64, 64),
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation '{activation}' is not one of {', '.join(ACTIVATIONS)}")
        layers: list[nn.Module] = []
        width = num_features
        for next_width in hidden:
            layers += [nn.Linear(width, next_width), ACTIVATIONS[activation]()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            width = next_width
        flat = [nn.Flatten(0)] if num_outputs == 1 else []  # one number a row: [B], not [B, 1]
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_outputs), *flat)

    def forward(self, **inputs: Tensor) -> Tensor:
        """Map inputs, each float32 [B, ...], to logits [B, num_outputs], or [B] where there is one output."""
        flat = [inputs[name].flatten(1) for name in sorted(inputs)]  # the caller's order may differ
        x_BF = flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)
        logits: Tensor = self.layers(x_BF)
        return logits

"""A fully connected network over a table's numbers and the embeddings of its categories."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flywheel.model.mlp import ACTIVATIONS

UNTRAINED_CODES = 2
"""The codes of rare and of missing values: they begin at zero, the mean, as no row of train may ever move them."""


class MLPTabular(nn.Module):
    """Categories are embedded (Guo & Berkhahn 2016, arXiv:1604.06737), joined with the numbers, and go through layers.

    Args:
        num_numeric: Numbers a row has; 0: there is no input `numeric`.
        cardinalities: Codes of each category; empty: there is no input `categories`.
        num_outputs: Number of outputs.
        hidden: Width of each hidden layer.
        embedding: Width of every embedding; None: the smaller of 50 and 1.6 * codes ** 0.56 (fastai's rule).
        dropout: Probability of dropping a hidden unit, in [0, 1).
        batch_norm: Whether batch norm follows each hidden layer.
        activation: relu, gelu, sigmoid or tanh.

    Raises:
        ValueError: There are no inputs, or the activation is not known.
    """

    def __init__(
        self,
        num_numeric: int,
        cardinalities: Sequence[int],
        num_outputs: int,
        hidden: Sequence[int] = (128, 64),
        embedding: int | None = None,
        dropout: float = 0.1,
        batch_norm: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation '{activation}' is not one of {', '.join(ACTIVATIONS)}")
        self.embeddings = nn.ModuleList(_embedding(codes, embedding or _width(codes)) for codes in cardinalities)
        width = num_numeric + sum(item.embedding_dim for item in self.embeddings if isinstance(item, nn.Embedding))
        if width == 0:
            raise ValueError("there are neither numbers nor categories")
        layers: list[nn.Module] = []
        for next_width in hidden:
            layers.append(nn.Linear(width, next_width))
            if batch_norm:
                layers.append(nn.BatchNorm1d(next_width))
            layers.append(ACTIVATIONS[activation]())
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            width = next_width
        flat = [nn.Flatten(0)] if num_outputs == 1 else []  # one number a row: [B], not [B, 1]
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_outputs), *flat)

    def forward(self, numeric: Tensor | None = None, categories: Tensor | None = None) -> Tensor:
        """Map numbers, float32 [B, F], and codes, int32 [B, C], to logits [B, num_outputs], or [B] for one output."""
        parts = [] if numeric is None else [numeric]
        if categories is not None:
            parts += [embed(categories[:, place]) for place, embed in enumerate(self.embeddings)]
        logits: Tensor = self.layers(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0])
        return logits


def _width(codes: int) -> int:
    return int(min(50, round(1.6 * codes**0.56)))


def _embedding(codes: int, width: int) -> nn.Embedding:
    made = nn.Embedding(codes, width)
    with torch.no_grad():
        made.weight[:UNTRAINED_CODES] = 0.0
    return made

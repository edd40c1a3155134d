"""Magnitude pruning in training: the smallest weights become 0, more and more, and the others make up for them."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from flywheel.project.config import PruneConfig

MIN_CELLS = 256
"""Smaller tensors are spared: there is nothing to gain."""


class Sparsity(Callback):
    """Raises the share of zeros by the cubic schedule of Zhu & Gupta 2017 (arXiv:1710.01878), then fine-tunes.

    The threshold is one for all weights of the network, so that layers with weights to spare lose more. After each call
    of the training loop the weights below it are 0 again.

    Args:
        settings: Share of zeros in the end, and when it is reached.
        total_steps: Optimiser steps of the whole training.
    """

    def __init__(self, settings: PruneConfig, total_steps: int) -> None:
        self._share, self._last_step = settings.share, max(1, round(settings.until * total_steps))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Set what is below the threshold of this moment to 0."""
        learner: Any = pl_module
        prune(learner.network, self.share_at(learner.steps_done))

    def share_at(self, step: int) -> float:
        """The share of zeros after a number of optimiser steps."""
        left = 1 - min(1.0, step / self._last_step)
        return self._share * (1 - left**3)


@torch.no_grad()
def prune(network: nn.Module, share: float) -> None:
    """Set the smallest weights to 0, in place, so that `share` of all prunable ones are.

    Args:
        network: Biases, normalisation and tensors of fewer than `MIN_CELLS` weights are spared.
        share: Share of the weights to set to 0, in [0, 1).
    """
    weights = prunable(network)
    sizes = torch.cat([weight.abs().flatten() for weight in weights]) if weights else torch.empty(0)
    count = int(share * len(sizes))
    if not count:
        return
    threshold = sizes.kthvalue(count).values
    for weight in weights:
        weight.mul_(weight.abs() > threshold)


def prunable(network: nn.Module) -> list[Tensor]:
    """The weights that may become 0."""
    return [p for p in network.parameters() if p.requires_grad and p.ndim > 1 and p.numel() >= MIN_CELLS]

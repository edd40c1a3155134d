"""Learning-rate schedules, stepped once an optimiser step (`plateau`: an epoch). The optimizer's `lr` is the top."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau


def constant(optimizer: Optimizer, total_steps: int) -> None:
    """Keep the optimizer's learning rate: no schedule at all.

    Args:
        optimizer: The optimiser whose rate is kept.
        total_steps: Not used.
    """


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    warmup: float = 0.3,
    start_factor: float = 0.04,
    end_factor: float = 4e-6,
) -> LambdaLR:
    """Rise on a cosine to the full rate, then fall on a cosine to nearly nothing (Smith & Topin, arXiv:1708.07120).

    Args:
        optimizer: The optimiser whose rate is scheduled.
        total_steps: Optimiser steps of the whole training.
        warmup: Share of the steps that rise, in [0, 1).
        start_factor: First rate, as a share of the full one.
        end_factor: Last rate, as a share of the full one.
    """
    rising = max(1, round(warmup * total_steps))

    def factor(step: int) -> float:
        if step < rising:
            return _between(start_factor, 1.0, step / rising)
        return _between(1.0, end_factor, (step - rising) / max(1, total_steps - rising))

    return _schedule(optimizer, factor)


def cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.0, end_factor: float = 0.0) -> LambdaLR:
    """Rise linearly over `warmup`, then fall on half a cosine (Loshchilov & Hutter, arXiv:1608.03983, no restarts).

    Args:
        optimizer: The optimiser whose rate is scheduled.
        total_steps: Optimiser steps of the whole training.
        warmup: Share of the steps that rise, in [0, 1).
        end_factor: Last rate, as a share of the full one.
    """
    rising = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return _between(1.0, end_factor, (step - rising) / max(1, total_steps - rising))

    return _schedule(optimizer, factor)


def plateau(optimizer: Optimizer, total_steps: int, factor: float = 0.3, patience: int = 3) -> ReduceLROnPlateau:
    """Keep the rate, and lower it whenever the monitored metric has stopped to improve; stepped once an epoch.

    It needs to know nothing of how long the training is, so it goes with early stopping.

    Args:
        optimizer: The optimiser whose rate is scheduled.
        total_steps: Not used.
        factor: Factor by which the rate is multiplied, in (0, 1).
        patience: Epochs without an improvement before it is.
    """
    if not 0 < factor < 1:
        raise ValueError(f"factor {factor} is not between 0 and 1")
    return ReduceLROnPlateau(optimizer, factor=factor, patience=patience, threshold=0.0)


def _between(start: float, end: float, share: float) -> float:
    """Go from `start` to `end` on half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2


def _schedule(optimizer: Optimizer, factor: Callable[[int], float]) -> LambdaLR:
    return LambdaLR(optimizer, factor)

"""Batch normalisation over a whole batch that several ranks share.

torch's own `SyncBatchNorm` works on GPUs only, and cannot leave out a rank that has no row of its own.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Sharing(Protocol):
    """What it needs to know of the ranks."""

    @property
    def idle(self) -> bool:
        """Whether this rank has no row of its own in the present batch."""


_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def share_batch_norm(net: nn.Module, ranks: Sharing) -> None:
    """Replace every batch normalisation of a net by one over all ranks, with the same parameters and buffers."""
    for name, child in list(net.named_children()):
        if isinstance(child, _KINDS):
            setattr(net, name, SharedBatchNorm(child, ranks))
        else:
            share_batch_norm(child, ranks)


class SharedBatchNorm(nn.Module):
    """What `torch.nn.BatchNorm1d` to `3d` do, with mean and variance over the rows of all ranks.

    Args:
        norm: The layer to replace; its parameters, buffers, settings and state names are kept.
        ranks: A rank that is idle (has no row of its own) does not count.
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, ranks: Sharing) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.eps, self.momentum = norm.eps, norm.momentum
        self._ranks = ranks

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [N, C, ...] over all axes but the second."""
        if not self.training and self.running_mean is not None and self.running_var is not None:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        axes = [0, *range(2, x.ndim)]
        values = x if x.dtype == torch.float64 else x.float()
        counted = 0.0 if self._ranks.idle else 1.0
        own = values.new_full((1,), counted * values.numel() / values.shape[1])
        total = _sum(torch.cat([values.sum(axes) * counted, own]))
        mean_C, count = total[:-1] / total[-1], total[-1].detach()
        centred = values - _across(mean_C, x.ndim)
        var_C = _sum(centred.square().sum(axes) * counted) / count
        if self.training:
            self._track(mean_C.detach(), var_C.detach(), count)
        scaled = centred * _across(torch.rsqrt(var_C + self.eps), x.ndim)
        if self.weight is not None:
            scaled = scaled * _across(self.weight, x.ndim) + _across(self.bias, x.ndim)
        return scaled.to(x.dtype)

    @torch.no_grad()
    def _track(self, mean_C: Tensor, var_C: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased_C = var_C * (count / (count - 1).clamp(min=1))
        self.running_mean.lerp_(mean_C.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased_C.to(self.running_var.dtype), share)


class _Sum(torch.autograd.Function):
    """The sum over all ranks. Every rank's loss depends on it, so gradients are summed on the way back."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return cast("Tensor", _Sum.apply(gradients[0]))  # type: ignore[no-untyped-call]


def _sum(value: Tensor) -> Tensor:
    return cast("Tensor", _Sum.apply(value))  # type: ignore[no-untyped-call]


def _across(value_C: Tensor, num_axes: int) -> Tensor:
    return value_C.reshape([1, -1] + [1] * (num_axes - 2))

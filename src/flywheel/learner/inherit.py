"""Structured pruning: a narrower network begins with the most important channels of a wider one of the same class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flywheel.model.network import Network
from flywheel.project.errors import ModelError

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)


@torch.no_grad()
def inherit(network: Network, parent: Network) -> None:
    """Copy the weights of the channels that matter most, by their L1 norm (Li et al. 2017, arXiv:1608.08710).

    Both networks must be a chain: each weighted layer reads what the one before gave, in the order in which they are
    made. A flattened or pooled output may be several times as wide as its channels; each channel's places then stand
    side by side (a flattened picture).

    Args:
        network: Untrained; its layers are as many as the parent's, none wider.
        parent: The trained parent network.

    Raises:
        ModelError: The two do not match layer by layer.
    """
    kept: Tensor | None = None
    own, wide = _layers(network), _layers(parent)
    if len(own) != len(wide):
        raise _misfit(f"{len(own)} layers with weights, not {len(wide)}")
    for place, (target, source) in enumerate(zip(own, wide, strict=True)):
        if type(target) is not type(source):
            raise _misfit(f"a {type(target).__name__} where the parent has a {type(source).__name__}")
        if isinstance(source, _WEIGHTED):
            kept = _inherit_weights(target, source, kept, is_last=place == len(own) - 1)
        elif kept is not None:
            _copy(target, source, kept)


def _layers(network: Network) -> list[nn.Module]:
    """The layers with weights, in the order in which they are made."""
    found = []
    for module in network.net.modules():
        has_own = any(True for _ in module.parameters(recurse=False))
        if has_own and not isinstance(module, (*_WEIGHTED, *_NORMS)):
            raise _misfit(f"a {type(module).__name__}, of which no channels can be taken")
        if has_own:
            found.append(module)
    return found


def _inherit_weights(target: nn.Module, source: nn.Module, before: Tensor | None, *, is_last: bool) -> Tensor:
    """Fill one layer from the parent's; gives the output channels that were kept, ascending."""
    weight: Tensor = source.weight  # type: ignore[assignment]  # a layer's is a tensor
    wanted: Tensor = target.weight  # type: ignore[assignment]
    if before is not None and weight.shape[1] != wanted.shape[1]:
        weight = weight[:, _inputs(weight.shape[1], before, wanted.shape[1])]
    num_kept = wanted.shape[0]
    if num_kept > weight.shape[0] or weight.shape[1:] != wanted.shape[1:]:
        raise _misfit(f"a layer of {tuple(wanted.shape)} where the parent has {tuple(weight.shape)}")
    norms = weight.abs().flatten(1).sum(1)
    # The outputs of the last layer are classes: all are kept, in their order.
    kept = torch.arange(num_kept) if is_last else torch.argsort(norms, descending=True, stable=True)[:num_kept]
    kept = kept.sort().values
    wanted.copy_(weight[kept])
    if getattr(source, "bias", None) is not None:
        target.bias.copy_(source.bias[kept])  # type: ignore[operator,index]
    return kept


def _inputs(width: int, before: Tensor, wanted: int) -> Tensor:
    """The input places of the channels that the layer before has kept; each may have several places side by side."""
    places = wanted // len(before)
    if places * len(before) != wanted or width % places:
        raise _misfit(f"{wanted} inputs, which {len(before)} channels do not make")
    return (before[:, None] * places + torch.arange(places)).flatten()


def _copy(target: nn.Module, source: nn.Module, kept: Tensor) -> None:
    """Take the kept channels of a normalisation's weights and statistics."""
    for name, values in (*target.named_parameters(recurse=False), *target.named_buffers(recurse=False)):
        stored = source.get_parameter(name) if name in dict(source.named_parameters()) else source.get_buffer(name)
        values.copy_(stored if stored.ndim == 0 else stored[kept])


def _misfit(what: str) -> ModelError:
    fix = "give model.net the class of trainer.parent's, with narrower layers, and a net that is a chain of layers"
    return ModelError(f"cannot be cut out of its parent: it has {what}", where="trainer.prune", fix=fix)

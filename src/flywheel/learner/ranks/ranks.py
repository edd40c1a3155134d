"""The arithmetic that several ranks share: one mean over a whole batch, sums over an epoch, one decision for all.

A rank has every `size`-th row of each batch. Its loss is weighed by its share of the batch, so that the gradient,
summed over the ranks, is that of the mean over the whole batch, however uneven the shares are.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import Store  # type: ignore[attr-defined]  # made in C++

from flywheel.learner.criterion import CLASS_WEIGHTED, class_weights
from flywheel.learner.data import RankShare
from flywheel.learner.ranks.batch_norm import share_batch_norm
from flywheel.learner.ranks.world import Place
from flywheel.project.errors import ConfigError

if TYPE_CHECKING:
    from flywheel.learner.machine import Machine

_KEYS = inspect.signature(nn.parallel.DistributedDataParallel).parameters
_ALIKE: Any = {("forward_sync_buffers" if "forward_sync_buffers" in _KEYS else "broadcast_buffers"): False}
"""Buffers are alike on all ranks, since batch normalisation is shared; torch has renamed the argument that says so."""


class Ranks:
    """This rank among the others, connected to them.

    Args:
        place: The rank of this process, and how many ranks there are.
        machine: The machine, of which strategy, backend, accelerator and precision are used.
        store: Store through which the ranks find each other.

    Raises:
        ConfigError: A node has another number of devices than rank 0's.
    """

    def __init__(self, place: Place, machine: Machine, store: Store) -> None:
        self.rank, self.size = place.rank, place.size
        self.shards = machine.strategy == "fsdp"
        self.device = local_device(machine.accelerator, place)
        self.idle = False
        self._dtype = {"bf16-true": torch.bfloat16, "64-true": torch.float64}.get(machine.precision)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        elif place.address == "127.0.0.1":
            # Gloo looks up the host's name else, which needs not be known on a laptop.
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        dist.init_process_group(
            machine.backend,
            store=store,
            rank=place.rank,
            world_size=place.size,
            device_id=self.device if self.device.type == "cuda" else None,
        )

    def leave(self) -> None:
        """Disconnect from the others."""
        dist.destroy_process_group()

    def spread(self, net: nn.Module) -> Callable[..., Tensor]:
        """Make a net train on all ranks: its gradients are averaged over them; FSDP also divides its parameters.

        Args:
            net: Changed in place: batch normalisation is over whole batches, and it moves to this rank's device.

        Returns:
            What is called in training instead of the net.
        """
        share_batch_norm(net, self)
        net.to(self.device, self._dtype) if self._dtype else net.to(self.device)
        if not self.shards:
            wrapped = nn.parallel.DistributedDataParallel(
                net,
                device_ids=None if self.device.type == "cpu" else [self.device],
                **_ALIKE,
                gradient_as_bucket_view=True,
            )
            return lambda **inputs: cast("Tensor", wrapped(**inputs))
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        for parameter in net.parameters():  # FSDP takes no channels_last
            parameter.data = parameter.data.contiguous()
        mesh = init_device_mesh(self.device.type, (self.size,))
        for layer in list(stacked_layers(net)):  # each is whole in memory only while it computes
            fully_shard(layer, mesh=mesh)
        fully_shard(net, mesh=mesh)
        return lambda **inputs: cast("Tensor", net(**inputs))

    def begin(self, share: RankShare) -> None:
        """Say what this rank has of the batch that comes next."""
        self.idle = share.own == 0

    def part_of_mean(self, loss: Tensor, criterion: nn.Module, target: Tensor, share: RankShare) -> Tensor:
        """Weigh the mean loss over this rank's rows so that the sum over the ranks is the mean over the whole batch.

        Args:
            loss: The loss of this rank's rows; ignored where the rank has none.
            criterion: The criterion; if it weighs classes, the share is one of weights.
            target: The target of this rank's rows.
            share: This rank's rows of the batch.
        """
        weights = class_weights(criterion, target)
        if weights is None:
            return loss * (share.own / share.whole)
        own: Tensor = weights.sum() * (0.0 if self.idle else 1.0)
        return loss * (own / self.sum(own))

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all ranks, the same on each; the value stays as it is."""
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    def agreed(self, decision: bool) -> bool:
        """Rank 0's decision."""
        word = torch.tensor([decision], dtype=torch.uint8, device=self.device)
        dist.broadcast(word, 0)
        return bool(word.item())

    def whole(self, state: Any) -> Any:
        """Gather the divided tensors of a nested state on rank 0's CPU; all ranks must call it, and others get None."""
        if isinstance(state, dict):
            return {key: self.whole(value) for key, value in state.items()}
        if isinstance(state, list):
            return [self.whole(value) for value in state]
        if not _is_dtensor(state):
            return state
        full: Tensor = state.full_tensor()
        return full.detach().cpu() if self.rank == 0 else None

    def divided(self, state: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
        """The opposite: divide whole tensors as those of the same name are; all ranks must call it."""
        from torch.distributed.tensor import distribute_tensor

        def divide(value: Tensor, model: Any) -> Tensor:
            if not _is_dtensor(model) or value.shape != model.shape:
                return value
            made: Tensor = distribute_tensor(value.to(self.device), model.device_mesh, model.placements)
            return made

        return {name: divide(value, like.get(name)) for name, value in state.items()}


def local_device(accelerator: str, place: Place) -> torch.device:
    """The device of a rank: its own GPU of those that it sees.

    Raises:
        ConfigError: There are fewer GPUs than ranks on this node.
    """
    if accelerator != "cuda":
        return torch.device(accelerator)
    there = torch.cuda.device_count()
    if there == 1:  # as Slurm's --gpus-per-task=1 shows each rank its own
        return torch.device("cuda", 0)
    if place.local_rank >= there:
        what = f"rank {place.rank} is the {place.local_rank + 1}th of its node, which has {there} GPUs"
        raise ConfigError(what, where="trainer.devices", fix="start as many ranks a node as it has GPUs")
    return torch.device("cuda", place.local_rank)


def stacked_layers(net: nn.Module) -> Iterator[nn.Module]:
    """The layers with parameters of a net's outermost stacks (`ModuleList`, `Sequential`); no layer is in another."""
    stack = isinstance(net, (nn.ModuleList, nn.Sequential))
    for child in net.children():
        if not stack or isinstance(child, (nn.ModuleList, nn.Sequential)):
            yield from stacked_layers(child)
        elif next(child.parameters(), None) is not None:
            yield child


def must_be_a_mean(criterion: nn.Module, of: str = "devices", fix: str = "trainer.devices: 1") -> None:
    """Refuse a criterion whose parts do not add up to that of the whole batch.

    Args:
        criterion: Any criterion.
        of: What shares the rows, in the plural, for messages.
        fix: The setting without which there are none.

    Raises:
        ConfigError: It gives no mean over rows, or weighs in a way that is not known.
    """
    weighs = getattr(criterion, "weight", None) is not None and not isinstance(criterion, CLASS_WEIGHTED)
    if getattr(criterion, "reduction", "mean") != "mean" or weighs:
        what = f"{type(criterion).__name__} is no mean over rows that several {of} could share"
        raise ConfigError(what, where="loss.criterion", fix=f"use reduction: mean, or {fix}")


def _is_dtensor(value: Any) -> bool:
    from torch.distributed.tensor import DTensor

    return isinstance(value, DTensor)

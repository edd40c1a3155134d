"""The one LightningModule: net, loss, optimizer, scheduler and metrics all come from configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import Metric, MetricCollection

from flywheel.learner.blocks import mixed_seed
from flywheel.learner.criterion import class_weights, row_losses
from flywheel.learner.data import Block, RankShare
from flywheel.learner.distillation import Distillation
from flywheel.learner.ranks.ranks import Ranks
from flywheel.model.network import Network
from flywheel.project.config import LossConfig, MonitorConfig
from flywheel.project.errors import ModelError

_SHARDED = ("state_dict", "optimizer_states")  # what of a checkpoint FSDP holds in pieces


class Learner(pl.LightningModule):
    """Trains a Network on Blocks: several optimiser steps for each call of Lightning's loop.

    Lightning's loop costs about as much as a step of a small network. Manual optimisation over a block of batches
    pays that cost once a block; the arithmetic is that of one step after another (bench/RESULTS.md, "training").

    Args:
        network: The network to train.
        criterion: Maps (logits, target) to the mean loss of a batch; where rows have weights, its `reduction` is
            changed to get their losses one by one.
        loss: The loss's settings; its penalties are added to the criterion.
        make_optimizer: Gives the optimizer for the network's parameters.
        make_scheduler: Gives the schedule, stepped once an optimiser step (`ReduceLROnPlateau`: once an epoch, by the
            monitored metric), or None.
        monitor: The validation metric that such a schedule watches.
        metrics: Computed once an epoch, for train (running, with dropout) and validation.
        augmentation: Changes scaled training inputs and their target.
        seed: Every epoch starts its random draws anew from it, so that a resumed training draws the same.
        clip_norm: Largest L2 norm of the gradient; 0: no clipping.
        accumulate: Batches whose gradients make one optimiser step, which is that of one batch of all their rows.
        compile_net: Whether the net goes through `torch.compile`.
        distillation: A teacher's part of the training loss; None: there is none.
        frozen: Whether the Blocks hold the features of a frozen net (see `flywheel.learner.frozen`): only its head is
            trained then.
        ranks: The ranks that share each batch; None: this process is alone.
    """

    def __init__(
        self,
        *,
        network: Network,
        criterion: nn.Module,
        loss: LossConfig,
        make_optimizer: Callable[[list[nn.Parameter]], Optimizer],
        make_scheduler: Callable[[Optimizer], LRScheduler | None],
        monitor: MonitorConfig,
        metrics: Mapping[str, Metric],
        augmentation: nn.Module,
        seed: int,
        clip_norm: float = 0.0,
        accumulate: int = 1,
        compile_net: bool = False,
        frozen: bool = False,
        ranks: Ranks | None = None,
        distillation: Distillation | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network = network
        self.criterion = criterion
        self.augmentation = augmentation
        self._distillation = distillation
        self.train_metrics = MetricCollection(dict(metrics), prefix="train/").clone()
        self.validation_metrics = MetricCollection(dict(metrics), prefix="validation/").clone()
        self.steps_done = 0
        self._loss = loss
        self._make_optimizer = make_optimizer
        self._make_scheduler = make_scheduler
        self._monitor = monitor
        self._seed = seed
        self._clip_norm = clip_norm
        self._accumulate = accumulate
        net: Any = network.net.head if frozen else network.net
        self._ranks = ranks
        in_training = ranks.spread(network.net) if ranks else None  # before anything keeps its parameters
        # The bound call, not the Module: as an attribute of this one it would stand in checkpoints a second time.
        self._net: Callable[..., Tensor] = torch.compile(net) if compile_net else net.__call__
        self._net_in_training: Callable[..., Tensor] = in_training or self._net
        self._scale: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict if frozen else network.scale
        self._trained = [p for p in network.parameters() if p.requires_grad]
        self._weights = [p for p in self._trained if p.ndim > 1]  # biases and norms bear no penalty
        self._sums: dict[str, Tensor] = {}
        self._rows: dict[str, Any] = {}  # or the sum of their weights

    def configure_optimizers(self) -> Any:
        """Make the optimizer, and the schedule where there is one (Lightning stores and restores both)."""
        optimizer = self._make_optimizer(self._trained)
        scheduler = self._make_scheduler(optimizer)
        if scheduler is None:
            return optimizer
        interval = "epoch" if isinstance(scheduler, ReduceLROnPlateau) else "step"
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}

    def on_train_epoch_start(self) -> None:
        """Start the epoch's draws (dropout, augmentation) from a seed of its own."""
        torch.manual_seed(mixed_seed(self._seed, self.current_epoch) + (self._ranks.rank if self._ranks else 0))
        self._reset("train")

    def training_step(self, block: Block, block_index: int) -> None:
        """Do one optimiser step for each batch of the block, or for every few of them."""
        optimizer, wrapped, scheduler = self._optimizers()
        num_batches = -(-len(block.target) // block.batch_size)
        losses, outputs = [], []
        divisor: Any = 0  # of the step so far
        for place, (stored, stored_target) in enumerate(block.batches()):
            # Scaled a batch at a time: a whole block of floats would no longer fit the CPU's caches.
            share = block.share(place, len(stored_target))
            inputs, target = self.augmentation(self._scale(stored), stored_target)
            weight = block.weights(place)
            logits, loss, counts = self._outcome(self._net_in_training, inputs, target, share, weight)
            if self._distillation is not None:
                loss = self._distillation.blend(loss, logits, inputs, weight)
            if place % self._accumulate == 0:
                divisor = 0
                for parameter in self._trained:  # as optimizer.zero_grad() would, without its profiler's price
                    parameter.grad = None
            own = self._divisor(target, share, weight) if self._accumulate > 1 else 1
            self._backward(loss, own)
            divisor = divisor + own
            losses.append((loss.detach(), counts))
            outputs.append((logits.detach()[: share.own], target[: share.own]))
            if place == num_batches - 1 or (place + 1) % self._accumulate == 0:
                # Lightning counts its own wrapper's steps; one a block keeps its counters going at a block's price.
                self._step(divisor, wrapped if place == num_batches - 1 else optimizer, scheduler)
        self._count("train", losses)
        with torch.no_grad():
            logits, target = (torch.cat(pieces) for pieces in zip(*outputs, strict=True))
            self.train_metrics.update(logits, target)

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch's sums."""
        self._reset("validation")

    def validation_step(self, block: Block, block_index: int) -> None:
        """Measure loss and metrics on a block."""
        for step, (inputs, target) in enumerate(block.batches()):
            share = block.share(step, len(target))
            logits, loss, counts = self._outcome(self._net, self._scale(inputs), target, share, block.weights(step))
            self._count("validation", [(loss, counts)])
            self.validation_metrics.update(logits[: share.own], target[: share.own])

    def on_validation_epoch_end(self) -> None:
        """Give the epoch's figures to callbacks and checkpoints."""
        self._publish("validation", self.validation_metrics)

    def on_train_epoch_end(self) -> None:
        """Give the epoch's figures to callbacks; stop at once when the loss is not a number any more.

        Raises:
            ModelError: The training loss is NaN or infinite.
        """
        self._publish("train", self.train_metrics)
        self.log("lr", self._optimizers()[0].param_groups[0]["lr"])
        plateau = self.lr_schedulers()
        if isinstance(plateau, ReduceLROnPlateau):
            value = float(self.trainer.callback_metrics[f"validation/{self._monitor.name}"])
            plateau.step(-value if self._monitor.mode == "max" else value)
        if not torch.isfinite(self._sums["train"]):
            raise ModelError(
                f"the training loss is no longer finite in epoch {self.current_epoch + 1}",
                fix="lower optimizer.lr or set trainer.gradient_clip_norm",
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the number of steps; what the ranks hold in pieces is gathered."""
        checkpoint["steps_done"] = self.steps_done
        if self._ranks and self._ranks.shards:
            checkpoint.update(self._ranks.whole({key: checkpoint[key] for key in _SHARDED}))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from the number of steps; what the ranks hold in pieces is divided again."""
        self.steps_done = checkpoint["steps_done"]
        if self._ranks and self._ranks.shards:
            checkpoint["state_dict"] = self._ranks.divided(checkpoint["state_dict"], self.state_dict())
            for state in checkpoint["optimizer_states"]:
                for place, values in state["state"].items():  # optimizers number the parameters
                    state["state"][place] = self._ranks.divided(values, dict.fromkeys(values, self._trained[place]))

    def weights(self) -> dict[str, Tensor]:
        """The network's state on the CPU, whole; where FSDP has divided it, all ranks must call this."""
        state = self.network.state_dict()
        if self._ranks and self._ranks.shards:
            state = self._ranks.whole(state)
        return {k: v.detach().cpu().clone() for k, v in state.items() if v is not None}

    @property
    def _has_penalty(self) -> bool:
        return bool(self._loss.l1 or self._loss.l2)

    def _penalty(self) -> Tensor:
        l1 = torch.stack([w.abs().sum() for w in self._weights]).sum() * self._loss.l1
        l2 = torch.stack([w.square().sum() for w in self._weights]).sum() * (self._loss.l2 / 2)
        return l1 + l2

    def _optimizers(self) -> tuple[Optimizer, Any, LRScheduler | None]:
        """The bare optimizer, Lightning's wrapper of it, and the schedule that is stepped once an optimiser step."""
        schedulers = self.lr_schedulers()
        if isinstance(schedulers, list):
            raise ModelError("expected one schedule, not several", where="scheduler")
        by_step = None if isinstance(schedulers, ReduceLROnPlateau) else schedulers
        bare = self.optimizers(use_pl_optimizer=False)
        return bare, self.optimizers(), by_step  # type: ignore[return-value]  # one optimizer, so no list

    def _outcome(
        self,
        net: Callable[..., Tensor],
        inputs: Mapping[str, Tensor],
        target: Tensor,
        share: RankShare,
        weight: Tensor | None,
    ) -> tuple[Tensor, Tensor, Any]:
        """Logits, the mean loss over the batch or this rank's part of it, and the rows of the batch or their weights'
        sum.
        """
        if self._ranks is not None:
            self._ranks.begin(share)
        logits = net(**inputs)
        if weight is not None:
            return logits, *self._weighted(logits, target, weight)
        loss = self.criterion(logits, target)
        if self._ranks is not None:
            loss = self._ranks.part_of_mean(loss, self.criterion, target, share)
        return logits, loss, share.whole

    def _weighted(self, logits: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss by the weights of rows, times those of their classes, and the sum of the rows' weights."""
        losses = row_losses(self.criterion, logits, target)
        if self._ranks is not None and self._ranks.idle:
            weight = torch.zeros_like(weight)
        weight, by_class = weight.to(losses.dtype), class_weights(self.criterion, target)
        sums = torch.stack([weight.sum(), weight.sum() if by_class is None else torch.dot(weight, by_class)])
        whole = sums if self._ranks is None else self._ranks.sum(sums)
        return torch.dot(losses, weight) / whole[1], whole[0]

    def _divisor(self, target: Tensor, share: RankShare, weight: Tensor | None) -> Any:
        """What the sum of the losses of a batch was divided by to be its mean, over all ranks."""
        by_class = class_weights(self.criterion, target)
        if weight is None and by_class is None:
            return share.whole
        own = torch.ones_like(target) if weight is None else weight
        own = own.sum() if by_class is None else torch.dot(own.to(by_class.dtype), by_class)
        return own if self._ranks is None else self._ranks.sum(own * (0.0 if self._ranks.idle else 1.0))

    def _backward(self, loss: Tensor, divisor: Any) -> None:
        """Add a batch's gradients; those of a sum, where the step has several batches, whose mean is not known yet."""
        if self._ranks is not None:
            loss = loss * self._ranks.size  # gradients are averaged over the ranks
        elif self._has_penalty:
            loss = loss + self._penalty()
        (loss * divisor if self._accumulate > 1 else loss).backward()

    def _step(self, divisor: Any, optimizer: Optimizer, scheduler: LRScheduler | None) -> None:
        """Do an optimiser step with gradients of the mean over all its batches, with the penalty, clipped."""
        for parameter in self._trained if self._accumulate > 1 else ():
            if parameter.grad is not None:
                parameter.grad.div_(float(divisor))  # a number: FSDP's divided tensors take no other tensor
        if self._ranks is not None and self._has_penalty:  # the same on all ranks, so it is not averaged
            with torch.no_grad():
                for weight in self._weights:
                    if weight.grad is not None:
                        weight.grad.add_(weight.sign(), alpha=self._loss.l1).add_(weight, alpha=self._loss.l2)
        if self._clip_norm:
            nn.utils.clip_grad_norm_(self._trained, self._clip_norm)
        optimizer.step()
        self.steps_done += 1
        if scheduler is not None:
            scheduler.step()

    def _reset(self, part: str) -> None:
        self._sums[part] = torch.zeros((), device=self.device)
        self._rows[part] = 0

    def _count(self, part: str, losses: list[tuple[Tensor, Any]]) -> None:
        self._sums[part] = self._sums[part] + torch.stack([loss.float() * rows for loss, rows in losses]).sum()
        self._rows[part] += sum(rows for _, rows in losses)

    def _publish(self, part: str, metrics: MetricCollection) -> None:
        if self._ranks:
            self._sums[part] = self._ranks.sum(self._sums[part])
        figures = {f"{part}/loss": self._sums[part] / (self._rows[part] or 1), **metrics.compute()}
        self.log_dict(figures)
        metrics.reset()

"""What a task's configuration may hold of its loss and of its trainer; a part of `flywheel.project.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from flywheel.project import kind, lightning_words
from flywheel.project.config_data import Node
from flywheel.project.errors import ConfigError
from flywheel.project.settings import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt


@dataclass
class DistilConfig:
    """Distillation: the network is trained on the softened answers of a teacher (`trainer.parent`) beside the labels.

    Attributes:
        alpha: Share of the teacher in the training loss; 0: no teacher.
        temperature: Temperature that softens the classes of both networks; more is softer.
        answer: What the networks answer: `classes` (the losses compare distributions) or `numbers`.
    """

    alpha: Annotated[float, Ge(0), Le(1)] = 0.0
    temperature: PositiveFloat = 4.0
    answer: Literal["classes", "numbers"] = "classes"


@dataclass
class LossConfig:
    """`criterion(logits, target)`; `link(logits)` gives what a user sees; penalties are added to the criterion.

    Attributes:
        criterion: The loss, called with the network's logits and the targets.
        link: Turns logits into what a user sees, such as probabilities.
        class_weights: Weights of the classes in the loss: `none`, `balanced` (the inverse of each class's frequency in
            train), or `sqrt` (the square root of that).
        l1: Weight of the sum of absolute weights (biases excluded).
        l2: Weight of half the sum of squared weights (biases excluded).
        distil: Distillation from a teacher.
    """

    criterion: Annotated[Node, kind.CRITERION]
    link: Annotated[Node, kind.LINK]
    class_weights: Literal["none", "balanced", "sqrt"] = "none"
    l1: NonNegativeFloat = 0.0
    l2: NonNegativeFloat = 0.0
    distil: DistilConfig = field(default_factory=DistilConfig)


@dataclass
class EarlyStoppingConfig:
    """Ends the training when the monitored metric no longer improves.

    Attributes:
        patience: Epochs without an improvement after which training ends; 0: early stopping is off.
        min_delta: Least change of the metric that counts as an improvement.
    """

    patience: NonNegativeInt = 0
    min_delta: NonNegativeFloat = 0.0


@dataclass
class PruneConfig:
    """Pruning: weights or channels of the network are taken away.

    Attributes:
        method: `none`; `magnitude` (the smallest weights become 0 during training) or `structured` (training begins
            with the most important channels of the network in `trainer.parent`).
        share: With `magnitude`, the share of the weights that become 0.
        until: With `magnitude`, the share of the training after which no more weights become 0.
    """

    method: Literal["none", "magnitude", "structured"] = "none"
    share: Fraction = 0.8
    until: Annotated[float, Gt(0), Le(1)] = 0.5


@dataclass
class TrainerConfig:
    """How long, on what and in which precision. `auto` is resolved once, at run time, and logged.

    Attributes:
        max_epochs: Most passes over train.
        batch_size: Rows of one batch, over all devices together.
        accumulate_grad_batches: Batches of one optimiser step: the step is that of one batch of all their rows, in the
            memory of one of them. Batch normalisation sees one batch at a time.
        limit_train_batches: How much of train an epoch sees, other rows each time: a whole number of batches, or a
            share of them, where `1.0` is all (and `1` is one batch).
        limit_val_batches: How much of validation, likewise; always the same rows, the first ones.
        fast_dev_run: Whether to try all that a training does on one batch of train and one of validation (or so many)
            in one epoch, whatever `max_epochs` and the limits say. Such a model can be no champion.
        accelerator: Kind of device: `cuda` (or `gpu`, which means the same), `mps`, `cpu`, or `auto` (the first of
            these that there is).
        devices: Devices of one node: `auto` (one, or as many as torchrun or srun has started), `all` (every visible
            GPU), or a number.
        strategy: How several devices train: `ddp` (each holds the network), `fsdp` (each holds a part of it), or `auto`
            (ddp). One device trains alone, whatever this says.
        precision: Number format of the training; `auto` is `bf16-mixed` on a GPU that computes in it, else `32-true`.
        num_threads: CPU threads of one training. This is a number and never `auto`: another number of threads adds up
            in another order, and ends with other weights.
        hold: Where the data are: `memory` (as tensors, on the device if they fit), `stream` (memory-mapped), or `auto`.
        steps_per_call: Optimiser steps in one call of Lightning's training loop; more of them cost less overhead.
        gradient_clip_norm: Largest L2 norm of the gradient; 0: gradients are not clipped.
        early_stopping: When the training ends before `max_epochs`.
        keep: Which epoch's weights become the model: `best` (by the monitored validation metric) or `last`.
        refit: Whether, when the kept step has been chosen on validation, the model is made anew of the rows of train
            and validation together, as far as that step. `auto`: for models with `model.fit`; others cannot.
        compile: Whether the network goes through `torch.compile`.
        profiler: Lightning's profiler: `simple` (seconds of each part of the loop), `advanced` (calls of functions),
            `pytorch` (operators, and a trace), or null. It changes nothing of the model.
        parent: Model folder of another task, to learn from (`artifacts/<task>/model`), which DVC watches; null: none.
        prune: Pruning of weights or channels.
    """

    max_epochs: PositiveInt = 10
    batch_size: PositiveInt = 32
    accumulate_grad_batches: PositiveInt = 1
    limit_train_batches: PositiveInt | Annotated[float, Gt(0), Le(1)] = 1.0
    limit_val_batches: PositiveInt | Annotated[float, Gt(0), Le(1)] = 1.0
    fast_dev_run: bool | NonNegativeInt = False
    accelerator: Literal["auto", "cpu", "cuda", "gpu", "mps"] = "auto"
    devices: PositiveInt | Literal["auto", "all"] = "auto"
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed", "bf16-true", "64-true"] = "auto"
    num_threads: PositiveInt = 1
    hold: Literal["auto", "memory", "stream"] = "auto"
    steps_per_call: PositiveInt | Literal["auto"] = "auto"
    gradient_clip_norm: NonNegativeFloat = 0.0
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    keep: Literal["best", "last"] = "best"
    refit: bool | Literal["auto"] = "auto"
    compile: bool = False
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    parent: str = ""
    prune: PruneConfig = field(default_factory=PruneConfig)
    refuse = staticmethod(lightning_words.refuse)

    def check(self, where: str) -> None:
        """Refuse pruning that would end with another number of zeros than asked for."""
        if self.prune.method == "magnitude" and self.keep != "last":
            what = "'best' may keep an epoch that has too few zeros"
            fix = "set it to last where trainer.prune.method is magnitude"
            raise ConfigError(what, where=f"{where}.keep".lstrip("."), fix=fix)

"""What a task's configuration may hold of its loss and of its trainer; a part of `flywheel.project.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from flywheel.project import kind
from flywheel.project.config_data import Node


@dataclass
class DistilConfig:
    """Distillation: the network is trained on the softened answers of a teacher (`trainer.parent`) beside the labels.

    Attributes:
        alpha: Share of the teacher in the training loss; 0: no teacher.
        temperature: Temperature that softens the classes of both networks; more is softer.
        answer: What the networks answer: `classes` (the losses compare distributions) or `numbers`.
    """

    alpha: float = 0.0
    temperature: float = 4.0
    answer: str = "classes"


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
    class_weights: str = "none"
    l1: float = 0.0
    l2: float = 0.0
    distil: DistilConfig = field(default_factory=DistilConfig)


@dataclass
class EarlyStoppingConfig:
    """Ends the training when the monitored metric no longer improves.

    Attributes:
        patience: Epochs without an improvement after which training ends; 0: early stopping is off.
        min_delta: Least change of the metric that counts as an improvement.
    """

    patience: int = 0
    min_delta: float = 0.0


@dataclass
class PruneConfig:
    """Pruning: weights or channels of the network are taken away.

    Attributes:
        method: `none`; `magnitude` (the smallest weights become 0 during training) or `structured` (training begins
            with the most important channels of the network in `trainer.parent`).
        share: With `magnitude`, the share of the weights that become 0.
        until: With `magnitude`, the share of the training after which no more weights become 0.
    """

    method: str = "none"
    share: float = 0.8
    until: float = 0.5


@dataclass
class TrainerConfig:
    """How long, on what and in which precision. `auto` is resolved once, at run time, and logged.

    Attributes:
        max_epochs: Most passes over train.
        batch_size: Rows of one optimiser step, over all devices together.
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
        compile: Whether the network goes through `torch.compile`.
        parent: Model folder of another task, to learn from (`artifacts/<task>/model`), which DVC watches; the default
            is a file that stands for none.
        prune: Pruning of weights or channels.
    """

    max_epochs: int = 10
    batch_size: int = 32
    accelerator: str = "auto"
    devices: Any = "auto"
    strategy: str = "auto"
    precision: str = "auto"
    num_threads: int = 1
    hold: str = "auto"
    steps_per_call: Any = "auto"
    gradient_clip_norm: float = 0.0
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    keep: str = "best"
    compile: bool = False
    parent: str = "src/flywheel/learner/__init__.py"
    prune: PruneConfig = field(default_factory=PruneConfig)

"""Puts a training together from settings and data: on rank 0, and on every other rank in just the same way."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]
from torch import nn
from torch.optim import Optimizer

from flywheel.learner.blocks import Blocks, mixed_seed
from flywheel.learner.callbacks import Agreed, Unwritten
from flywheel.learner.data import Part, open_part, padding_of
from flywheel.learner.distillation import Distillation, load_parent
from flywheel.learner.frozen import frozen_part, is_frozen
from flywheel.learner.inherit import inherit
from flywheel.learner.limits import num_rows
from flywheel.learner.machine import Machine, resolve
from flywheel.learner.module import Learner
from flywheel.learner.objective import make_criterion, make_metrics
from flywheel.learner.observers import Observers
from flywheel.learner.ranks.ranks import Ranks, must_be_a_mean
from flywheel.learner.ranks.world import Place
from flywheel.model.initialise import initialise
from flywheel.model.network import LoadedNetwork, Network, build_network
from flywheel.project.config import TaskConfig
from flywheel.project.errors import ConfigError
from flywheel.project.instantiate import build
from flywheel.project.kind import AUGMENTATION, OPTIMIZER, SCHEDULER
from flywheel.project.types import Json

_EVALUATION_ROWS = 2048


def new_network(task: TaskConfig, meta: Json) -> tuple[Network, LoadedNetwork | None]:
    """The untrained network, the same for the same seed, and the trained one that it learns from, if there is one.

    Raises:
        ModelError: What it is to learn from is missing, or does not fit.
    """
    torch.manual_seed(mixed_seed(task.seed, -1))
    parent = load_parent(task, meta)
    network = build_network(task.model.net, meta, where="model.net")
    initialise(network, task.model.init)
    if parent is not None and task.trainer.prune.method == "structured":
        inherit(network, parent.network)
    return network, parent


def decide(task: TaskConfig, processed: Path, network: Network, place: Place | None) -> Machine:
    """Decide what `auto` is, by the data of one optimiser step."""
    files = _files(processed)
    first = open_part(files[0], network.input_names, stream=True)
    step_rows = task.trainer.batch_size * task.trainer.accumulate_grad_batches
    example = first.gather(torch.arange(min(step_rows, first.num_rows)))
    del example["target"]
    num_bytes = sum(file.stat().st_size for file in files if file.exists())
    return resolve(task.trainer, example, num_bytes, place)


def open_parts(processed: Path, network: Network, meta: Json, machine: Machine) -> tuple[Part, Part]:
    """Open train and validation as the machine holds them.

    Raises:
        DataError: A file is missing or damaged.
    """
    stream = machine.hold == "stream"
    parts = [open_part(file, network.input_names, stream=stream, weighted=True) for file in _files(processed)]
    for part in parts:
        part.measure(padding_of(meta["inputs"]))
    return parts[0], parts[1]


def assemble(
    task: TaskConfig,
    meta: Json,
    network: Network,
    machine: Machine,
    parts: tuple[Part, Part],
    ranks: Ranks | None,
    parent: LoadedNetwork | None = None,
) -> tuple[Learner, Blocks, Blocks]:
    """Make the Learner, and the blocks of train and of validation that this rank sees.

    Args:
        task: The settings.
        meta: The content of `meta.json`.
        network: As `new_network` gives it.
        machine: What was decided on rank 0.
        parts: As `open_parts` gives them.
        ranks: The others; None: this process is alone.
        parent: What the network learns from.

    Raises:
        ConfigError: A target's argument is wrong, or does not go with several ranks.
    """
    device = ranks.device if ranks else machine.device
    train, validation = (part.to(device) for part in parts)
    if is_frozen(network):
        train = frozen_part(network, train, meta["sha256"]["train"], device)
        validation = frozen_part(network, validation, meta["sha256"]["validation"], device)
    rank, size = (ranks.rank, ranks.size) if ranks else (0, 1)
    batch_size = task.trainer.batch_size
    batches = Blocks(
        train, batch_size, machine.steps_per_call, seed=task.seed, rank=rank, num_ranks=size,
        accumulate=task.trainer.accumulate_grad_batches,
        num_rows=num_rows(task.trainer, "limit_train_batches", train.num_rows),
    )  # fmt: skip
    evaluation = Blocks(
        validation, max(_EVALUATION_ROWS, batch_size), 1, rank=rank, num_ranks=size,
        num_rows=num_rows(task.trainer, "limit_val_batches", validation.num_rows),
    )  # fmt: skip
    if (rows := min(batches.num_rows, evaluation.num_rows)) < size:
        raise ConfigError(f"{size} ranks cannot share {rows} rows", where="trainer.devices", fix="use fewer")
    return _learner(task, meta, network, batches.num_steps, ranks, parent), batches, evaluation


def stopping(task: TaskConfig, ranks: Ranks | None, *more: Callback) -> list[Callback]:
    """The callbacks that may stop a training, and the one that makes all ranks stop together."""
    stopping, monitor = task.trainer.early_stopping, task.metric.monitor
    early = EarlyStopping(
        f"validation/{monitor.name}",
        mode=monitor.mode,
        patience=stopping.patience,
        min_delta=stopping.min_delta,
        check_on_train_epoch_end=True,
    )
    return [*([early] if stopping.patience else []), *more, *([Agreed(ranks)] if ranks else [])]


def make_trainer(
    task: TaskConfig,
    machine: Machine,
    callbacks: list[Callback],
    folder: Path,
    ranks: Ranks | None,
    observers: Observers,
) -> pl.Trainer:
    """Lightning's trainer. It knows one device: what several share is in `Learner` and `Ranks`."""
    on_gpu = ranks and ranks.device.type == "cuda"
    plugins: list[Any] = [LightningEnvironment()] if ranks else []  # torchrun's and Slurm's variables are not for it
    plugins += [Unwritten()] if ranks and ranks.rank else []
    return pl.Trainer(
        accelerator=machine.accelerator,
        devices=[ranks.device.index] if ranks and on_gpu else 1,
        precision=machine.precision,  # type: ignore[arg-type]  # checked in machine.resolve
        max_epochs=task.trainer.max_epochs,
        callbacks=callbacks,
        plugins=plugins or None,
        enable_checkpointing=True,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        use_distributed_sampler=False,
        inference_mode=not (ranks and ranks.shards),  # what FSDP gathers there could not be trained on
        **observers.arguments(),
    )


def fit_all(trainer: pl.Trainer, learner: Learner, batches: Blocks, evaluation: Blocks, resume: Path | None) -> None:
    """Train to the end, from a checkpoint where there is one."""
    try:
        trainer.fit(learner, batches, evaluation, ckpt_path=resume and str(resume), weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl+C, after it has told its callbacks
        raise KeyboardInterrupt from None


def _files(processed: Path) -> list[Path]:
    return [processed / f"{name}.safetensors" for name in ("train", "validation")]


def _learner(
    task: TaskConfig,
    meta: Json,
    network: Network,
    steps_per_epoch: int,
    ranks: Ranks | None,
    parent: LoadedNetwork | None,
) -> Learner:
    def make_optimizer(parameters: list[nn.Parameter]) -> Optimizer:
        made: Optimizer = build(task.optimizer, OPTIMIZER, where="optimizer", params=parameters)
        return made

    total_steps = steps_per_epoch * task.trainer.max_epochs
    criterion = make_criterion(task.loss, meta)
    if ranks:
        must_be_a_mean(criterion)
    if task.trainer.accumulate_grad_batches > 1:
        must_be_a_mean(criterion, of="batches", fix="trainer.accumulate_grad_batches: 1")
    return Learner(
        network=network,
        criterion=criterion,
        loss=task.loss,
        make_optimizer=make_optimizer,
        make_scheduler=partial(_scheduler, task.scheduler, total_steps),
        monitor=task.metric.monitor,
        metrics=make_metrics(task, meta),
        augmentation=build(task.augment, AUGMENTATION, where="augment", meta=meta),
        seed=task.seed,
        clip_norm=task.trainer.gradient_clip_norm,
        accumulate=task.trainer.accumulate_grad_batches,
        compile_net=task.trainer.compile,
        frozen=is_frozen(network),
        ranks=ranks,
        distillation=Distillation(parent, task.loss.distil) if parent and task.loss.distil.alpha > 0 else None,
    )


def _scheduler(node: dict[str, Any], total_steps: int, optimizer: Optimizer) -> Any:
    return build(node, SCHEDULER, where="scheduler", optimizer=optimizer, total_steps=total_steps)

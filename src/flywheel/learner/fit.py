"""One training, from typed settings and processed data to a folder with the model: a straight list of steps."""

from __future__ import annotations

import csv
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping
from torch import Tensor, nn
from torch.optim import Optimizer

from flywheel.config import LossConfig, TaskConfig
from flywheel.errors import ConfigError, nearest
from flywheel.instantiate import build
from flywheel.learner.callbacks import History, Progress, Row, is_resumable
from flywheel.learner.data import Blocks, Part, mixed_seed, open_part, padding_of
from flywheel.learner.distillation import Distillation, check_distillation, load_parent
from flywheel.learner.frozen import frozen_part, is_frozen
from flywheel.learner.inherit import inherit
from flywheel.learner.machine import Machine, known_choices, resolve
from flywheel.learner.module import Learner
from flywheel.learner.pruning import Pruning
from flywheel.learner.sparsity import METHODS, Sparsity, check_pruning
from flywheel.model.initialise import INITIALISATIONS, initialise
from flywheel.model.network import HISTORY, LoadedNetwork, Network, build_network, save_network
from flywheel.types import Json

_EVALUATION_ROWS = 2048
CLASS_WEIGHTS = {"balanced": 1.0, "sqrt": 0.5}
"""The power of the inverse class frequency that a class weighs."""


@dataclass(frozen=True)
class Fitted:
    """What a training came to.

    Attributes:
        score: The monitored validation metric of the epoch that was kept.
        epoch: That epoch, from 0.
        rows: One row of figures an epoch.
        model_sha256: Of the written `model.safetensors`.
        machine: What `auto` became.
    """

    score: float
    epoch: int
    rows: list[Row]
    model_sha256: str
    machine: Machine


def fit(
    task: TaskConfig,
    processed: Path,
    meta: Json,
    target: Path,
    checkpoint: Path,
    *,
    on_start: Callable[[Machine], None],
    on_row: Callable[[Row], None],
    watch: Callable[[int, float], bool] | None = None,
) -> Fitted:
    """Train, or go on training from `checkpoint`, and write `model.safetensors`, `model.json` and `history.csv`.

    Args:
        task: The settings.
        processed: Folder with `train.safetensors` and `validation.safetensors`.
        meta: The content of its `meta.json`.
        target: An empty folder for the model.
        checkpoint: The file to resume from; it is gone when training is done.
        on_start: Told what `auto` became, before the first step.
        on_row: Told each epoch's figures.
        watch: Told the monitored metric after each epoch, it says whether to stop there; then no bar is shown either,
            because a sweep shows how it goes.

    Raises:
        ConfigError: A target's argument is wrong; found before the first step.
        DataError: The processed data are missing or damaged.
        ModelError: The loss is no longer finite.
    """
    quiet()
    torch.manual_seed(mixed_seed(task.seed, -1))
    parent = load_parent(task, meta)
    network = build_network(task.model.net, meta, where="model.net")
    initialise(network, task.model.init)
    if parent is not None and task.trainer.prune.method == "structured":
        inherit(network, parent.network)
    machine, train, validation = _open(task, processed, network, padding_of(meta["inputs"]))
    torch.set_num_threads(machine.threads)
    on_start(machine)
    if is_frozen(network) and task.loss.distil.alpha > 0:
        what = "a student with a frozen part sees features, which its teacher cannot answer"
        raise ConfigError(what, where="loss.distil.alpha", mend="set it to 0, or take another model")
    if is_frozen(network):
        train = frozen_part(network, train, meta["sha256"]["train"], machine.device)
        validation = frozen_part(network, validation, meta["sha256"]["validation"], machine.device)
    batches = Blocks(train, task.trainer.batch_size, machine.steps_per_call, seed=task.seed)
    learner = _learner(task, meta, network, batches.num_steps, parent)
    monitor = task.metric.monitor
    progress = Progress(task.trainer.max_epochs, len(batches), f"validation/{monitor.name}", bar=watch is None)

    def tell(row: Row) -> None:
        progress.show(row)
        on_row(row)

    history = History(task.metric.monitor, checkpoint, tell)
    callbacks: list[Callback] = [progress, history, *_early_stopping(task)]
    callbacks += [Pruning(monitor.name, watch)] if watch else []
    if task.trainer.prune.method == "magnitude":
        callbacks.append(Sparsity(task.trainer.prune, batches.num_steps * task.trainer.max_epochs))
    resume = str(checkpoint) if is_resumable(checkpoint) else None
    trainer = _trainer(task, machine, callbacks, checkpoint.parent)
    evaluation = Blocks(validation, max(_EVALUATION_ROWS, task.trainer.batch_size), 1)
    try:
        trainer.fit(learner, batches, evaluation, ckpt_path=resume, weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl+C, after it has told its callbacks
        raise KeyboardInterrupt from None
    history.tell()
    learnt_from = {} if parent is None else {"parent_sha256": parent.model_sha256}
    return _finish(task, meta, learner, history, machine, target, learnt_from)


def check_settings(task: TaskConfig) -> None:
    """Refuse values that would only fail, or be silently ignored, later.

    Raises:
        ConfigError: A value is none of those known, or too small.
    """
    for where, value, known in (
        ("trainer.keep", task.trainer.keep, ("best", "last")),
        ("metric.monitor.mode", task.metric.monitor.mode, ("min", "max")),
        ("loss.class_weights", task.loss.class_weights, ("none", *CLASS_WEIGHTS)),
        ("metric.monitor.name", task.metric.monitor.name, ("loss", *task.metric.train)),
        ("model.init", task.model.init, tuple(INITIALISATIONS)),
        ("trainer.prune.method", task.trainer.prune.method, METHODS),
        *known_choices(task.trainer),
    ):
        if value not in known:
            raise ConfigError(f"'{value}' is not known", where=where, mend=nearest(value, known))
    if task.trainer.compile and " " in torch.__file__:
        what = f"torch.compile cannot use a torch in a path with a space ({Path(torch.__file__).parent})"
        raise ConfigError(what, where="trainer.compile", mend="move the project, or set it to false")
    check_distillation(task)
    check_pruning(task)
    if not 0 < task.preprocess.validation < 1:
        what = f"{task.preprocess.validation} leaves no rows to choose by, or none to train on"
        raise ConfigError(what, where="preprocess.validation", mend="use a share between 0 and 1")
    for where, number, lowest in (
        ("trainer.max_epochs", task.trainer.max_epochs, 1),
        ("trainer.batch_size", task.trainer.batch_size, 1),
        ("trainer.gradient_clip_norm", task.trainer.gradient_clip_norm, 0),
        ("trainer.early_stopping.patience", task.trainer.early_stopping.patience, 0),
        ("loss.l1", task.loss.l1, 0),
        ("loss.l2", task.loss.l2, 0),
    ):
        if number < lowest:
            raise ConfigError(f"{number} is too small", where=where, mend=f"use {lowest} or more")


def quiet() -> None:
    """Silence what Lightning says that is of no use here, each by its own words."""
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for words in (
        r".*does not have many workers.*",
        r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
        r".*The number of training batches .* is smaller than the logging interval.*",
        r".*GPU available but not used.*",
        r".*MPS available but not used.*",
        r".*srun.*command is available on your system but is not used.*",
        # Steps are made before the schedule's, only not through the wrapper that the warning watches.
        r".*Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`.*",
    ):
        warnings.filterwarnings("ignore", message=words)


def _open(task: TaskConfig, processed: Path, network: Network, padding: dict[str, float]) -> tuple[Machine, Part, Part]:
    """Open both parts the way this machine can hold them."""
    files = [processed / f"{name}.safetensors" for name in ("train", "validation")]
    first = open_part(files[0], network.input_names, stream=True)
    example = first.gather(torch.arange(min(task.trainer.batch_size, first.num_rows)))
    del example["target"]
    num_bytes = sum(file.stat().st_size for file in files if file.exists())
    machine = resolve(task.trainer, network, example, num_bytes)
    stream = machine.hold == "stream"
    parts = [open_part(file, network.input_names, stream=stream) for file in files]
    for part in parts:
        part.measure(padding)
    train, validation = (part.to(machine.device) for part in parts)
    return machine, train, validation


def _learner(
    task: TaskConfig, meta: Json, network: Network, steps_per_epoch: int, parent: LoadedNetwork | None
) -> Learner:
    def make_optimizer(parameters: list[nn.Parameter]) -> Optimizer:
        made: Optimizer = build(task.optimizer, where="optimizer", params=parameters)
        return made

    total_steps = steps_per_epoch * task.trainer.max_epochs
    metrics = {name: build(node, where=f"metric.train.{name}", meta=meta) for name, node in task.metric.train.items()}
    return Learner(
        network=network,
        criterion=_criterion(task.loss, meta),
        loss=task.loss,
        make_optimizer=make_optimizer,
        make_scheduler=partial(_scheduler, task.scheduler, total_steps),
        metrics=metrics,
        augmentation=build(task.augment, where="augment", meta=meta),
        seed=task.seed,
        clip_norm=task.trainer.gradient_clip_norm,
        compile_net=task.trainer.compile,
        frozen=is_frozen(network),
        distillation=Distillation(parent, task.loss.distil) if parent and task.loss.distil.alpha > 0 else None,
    )


def _scheduler(node: dict[str, Any], total_steps: int, optimizer: Optimizer) -> Any:
    return build(node, where="scheduler", optimizer=optimizer, total_steps=total_steps)


def _criterion(loss: LossConfig, meta: Json) -> nn.Module:
    given: dict[str, Tensor] = {}
    if loss.class_weights != "none":
        counts = torch.tensor(meta["class_counts"], dtype=torch.float32)
        given["weight"] = (counts.sum() / (len(counts) * counts)) ** CLASS_WEIGHTS[loss.class_weights]
    made: nn.Module = build(loss.criterion, where="loss.criterion", meta=meta, **given)
    return made


def _early_stopping(task: TaskConfig) -> list[Callback]:
    stopping, monitor = task.trainer.early_stopping, task.metric.monitor
    if stopping.patience == 0:
        return []
    name = f"validation/{monitor.name}"
    return [
        EarlyStopping(name, mode=monitor.mode, patience=stopping.patience, min_delta=stopping.min_delta,
                      check_on_train_epoch_end=True)
    ]  # fmt: skip


def _trainer(task: TaskConfig, machine: Machine, callbacks: list[Callback], folder: Path) -> pl.Trainer:
    return pl.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        precision=machine.precision,  # type: ignore[arg-type]  # checked in machine.resolve
        max_epochs=task.trainer.max_epochs,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        use_distributed_sampler=False,
    )


def _finish(
    task: TaskConfig,
    meta: Json,
    learner: Learner,
    history: History,
    machine: Machine,
    target: Path,
    learnt_from: Json,
) -> Fitted:
    """Write the kept epoch's weights; `learnt_from` names the model that this one learnt from."""
    last = history.rows[-1]
    epoch = history.best_epoch if task.trainer.keep == "best" else int(last["epoch"])
    if task.trainer.keep == "best":
        learner.network.load_state_dict(history.best_weights)
    description: Json = {
        "task": task.name, "net": task.model.net, "link": task.loss.link, "meta": meta, "best_epoch": epoch,
        **learnt_from,
    }  # fmt: skip
    sha256 = save_network(target, learner.network, description)
    with (target / HISTORY).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(history.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history.rows)
    score = next(row for row in history.rows if row["epoch"] == epoch)[f"validation/{task.metric.monitor.name}"]
    return Fitted(score, epoch, history.rows, sha256, machine)

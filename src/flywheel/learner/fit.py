"""One training, from typed settings and processed data to a folder with the model: a straight list of steps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from flywheel.learner.assemble import assemble, decide, fit_all, make_trainer, new_network, open_parts, stopping
from flywheel.learner.callbacks import History, Progress
from flywheel.learner.frozen import is_frozen
from flywheel.learner.limits import tried
from flywheel.learner.machine import Machine
from flywheel.learner.observers import Observers
from flywheel.learner.outcome import Fitted, Row, is_resumable, write_model
from flywheel.learner.pruning import Pruning
from flywheel.learner.ranks.processes import rank_processes
from flywheel.learner.settings import quiet
from flywheel.learner.sparsity import Sparsity
from flywheel.model.network import Network
from flywheel.project.config import TaskConfig
from flywheel.project.errors import ConfigError
from flywheel.project.types import Json

log = logging.getLogger("flywheel")


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
    observers: Observers | None = None,
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
        observers: What looks on; None: nothing does.

    Raises:
        ConfigError: A target's argument is wrong; found before the first step.
        DataError: The processed data are missing or damaged.
        ModelError: The loss is no longer finite.
        RankError: Another rank of the training ended.
    """
    quiet()
    observers = observers or Observers()
    is_trial, task = bool(task.trainer.fast_dev_run), tried(task)
    if is_trial:
        log.info("trainer.fast_dev_run: one epoch of so few batches that its model can be no champion")
    with rank_processes(task.trainer, checkpoint.parent) as others:
        network, parent = new_network(task, meta)
        _must_go_together(task, network, alone=others is None)
        machine = decide(task, processed, network, others.place if others else None)
        parts = open_parts(processed, network, meta, machine)
        torch.set_num_threads(machine.num_threads)
        on_start(machine)
        resume = checkpoint if is_resumable(checkpoint) else None
        ranks = others.begin(_job(task, processed, meta, checkpoint, resume, machine), machine) if others else None
        try:
            learner, batches, evaluation = assemble(task, meta, network, machine, parts, ranks, parent)
            monitor = task.metric.monitor
            progress = Progress(task.trainer.max_epochs, len(batches), f"validation/{monitor.name}",
                                bar=watch is None and not observers.shows_bar)  # fmt: skip

            def tell(row: Row) -> None:
                progress.show(row)
                on_row(row)

            history = History(monitor, checkpoint, tell, ranks)
            ends = stopping(task, ranks, *([Pruning(monitor.name, watch)] if watch else []))
            if task.trainer.prune.method == "magnitude":
                ends.append(Sparsity(task.trainer.prune, batches.num_steps * task.trainer.max_epochs))
            callbacks = [*observers.callbacks, progress, history, *ends]
            trainer = make_trainer(task, machine, callbacks, checkpoint.parent, ranks, observers)
            fit_all(trainer, learner, batches, evaluation, resume)
        finally:
            if ranks:
                ranks.leave()
        history.tell()
        more: Json = {} if parent is None else {"parent_sha256": parent.model_sha256}
        more |= {"fast_dev_run": True} if is_trial else {}
        epoch = history.best_epoch if task.trainer.keep == "best" else int(history.rows[-1]["epoch"])
        weights = history.best_weights if task.trainer.keep == "best" else history.last_weights
        return write_model(task, meta, learner.network, weights, history.rows, epoch, machine, target, more)


def _must_go_together(task: TaskConfig, network: Network, *, alone: bool) -> None:
    """Refuse what a training on several devices, or a net with a frozen part, cannot do."""
    if is_frozen(network) and task.loss.distil.alpha > 0:
        what = "a student with a frozen part sees features, which its teacher cannot answer"
        raise ConfigError(what, where="loss.distil.alpha", fix="set it to 0, or take another model")
    if alone:
        return
    if is_frozen(network):
        what = "a net with a frozen part trains its head alone, on one device"
        raise ConfigError(what, where="trainer.devices", fix="use 1")
    if task.loss.distil.alpha > 0 or task.trainer.prune.method == "magnitude":
        what = "distillation and magnitude pruning train on one device"
        raise ConfigError(what, where="trainer.devices", fix="use 1")


def _job(
    task: TaskConfig, processed: Path, meta: Json, checkpoint: Path, resume: Path | None, machine: Machine
) -> Json:
    """What the other ranks need to know."""
    return {
        "task": asdict(task),
        "processed": str(processed.resolve()),
        "meta": meta,
        "checkpoint": str(checkpoint.resolve()),
        "resume": resume is not None,
        "machine": asdict(machine),
    }

"""One training, from typed settings and processed data to a folder with the model: a straight list of steps."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from flywheel.config import TaskConfig
from flywheel.errors import ConfigError
from flywheel.learner.assemble import assemble, decide, fit_all, make_trainer, new_network, open_parts, stopping
from flywheel.learner.callbacks import History, Progress, Row, is_resumable
from flywheel.learner.crew import crew_for
from flywheel.learner.frozen import is_frozen
from flywheel.learner.machine import Machine
from flywheel.learner.module import Learner
from flywheel.learner.pruning import Pruning
from flywheel.learner.settings import quiet
from flywheel.model.network import HISTORY, save_network
from flywheel.types import Json


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
        RankError: Another rank of the training ended.
    """
    quiet()
    with crew_for(task.trainer, checkpoint.parent) as crew:
        network = new_network(task, meta)
        if crew and is_frozen(network):
            what = "a net with a frozen part trains its head alone, on one device"
            raise ConfigError(what, where="trainer.devices", mend="use 1")
        machine = decide(task, processed, network, crew.place if crew else None)
        parts = open_parts(processed, network, meta, machine)
        torch.set_num_threads(machine.threads)
        on_start(machine)
        resume = checkpoint if is_resumable(checkpoint) else None
        ranks = crew.begin(_job(task, processed, meta, checkpoint, resume, machine), machine) if crew else None
        try:
            learner, batches, evaluation = assemble(task, meta, network, machine, parts, ranks)
            monitor = task.metric.monitor
            progress = Progress(task.trainer.max_epochs, len(batches), f"validation/{monitor.name}", bar=watch is None)

            def tell(row: Row) -> None:
                progress.show(row)
                on_row(row)

            history = History(monitor, checkpoint, tell, ranks)
            ends = stopping(task, ranks, *([Pruning(monitor.name, watch)] if watch else []))
            trainer = make_trainer(task, machine, [progress, history, *ends], checkpoint.parent, ranks)
            fit_all(trainer, learner, batches, evaluation, resume)
        finally:
            if ranks:
                ranks.leave()
        history.tell()
        return _finish(task, meta, learner, history, machine, target)


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


def _finish(task: TaskConfig, meta: Json, learner: Learner, history: History, machine: Machine, target: Path) -> Fitted:
    """Write the kept epoch's weights."""
    last = history.rows[-1]
    epoch = history.best_epoch if task.trainer.keep == "best" else int(last["epoch"])
    weights = history.best_weights if task.trainer.keep == "best" else history.last_weights
    description: Json = {
        "task": task.name, "net": task.model.net, "link": task.loss.link, "meta": meta, "best_epoch": epoch
    }  # fmt: skip
    sha256 = save_network(target, learner.network, description, weights)
    with (target / HISTORY).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(history.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history.rows)
    score = next(row for row in history.rows if row["epoch"] == epoch)[f"validation/{task.metric.monitor.name}"]
    return Fitted(score, epoch, history.rows, sha256, machine)

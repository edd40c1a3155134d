"""Settings that are refused before any work, and what Lightning says that is of no use here."""

from __future__ import annotations

import inspect
import logging
import warnings
from pathlib import Path

import torch

from flywheel.learner.assemble import CLASS_WEIGHTS
from flywheel.learner.criterion import cannot_weigh
from flywheel.learner.distillation import check_distillation
from flywheel.learner.machine import known_choices, num_devices
from flywheel.learner.ranks.world import place_from
from flywheel.learner.sparsity import METHODS, check_pruning
from flywheel.model.initialise import INITIALISATIONS
from flywheel.project import kind
from flywheel.project.config import TaskConfig
from flywheel.project.errors import ConfigError, nearest
from flywheel.project.instantiate import locate


def check_settings(task: TaskConfig) -> None:
    """Refuse values that would only fail, or be silently ignored, later, on this machine.

    Raises:
        ConfigError: A value is none of those known, too small, or does not go with another; a device is not there.
    """
    check_values(task)
    num_devices(task.trainer, place_from())


def check_values(task: TaskConfig) -> None:
    """The same, whatever machine trains.

    Raises:
        ConfigError: A value is none of those known, too small, or does not go with another.
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
            raise ConfigError(f"'{value}' is not known", where=where, fix=nearest(value, known))
    if task.trainer.compile and " " in torch.__file__:
        what = f"torch.compile cannot use a torch in a path with a space ({Path(torch.__file__).parent})"
        raise ConfigError(what, where="trainer.compile", fix="move the project, or set it to false")
    check_distillation(task)
    check_pruning(task)
    _check_weights(task)
    if not 0 < task.preprocess.validation < 1:
        what = f"{task.preprocess.validation} leaves no rows to choose by, or none to train on"
        raise ConfigError(what, where="preprocess.validation", fix="use a share between 0 and 1")
    for where, number, lowest in (
        ("trainer.max_epochs", task.trainer.max_epochs, 1),
        ("trainer.batch_size", task.trainer.batch_size, 1),
        ("trainer.num_threads", task.trainer.num_threads, 1),
        ("trainer.gradient_clip_norm", task.trainer.gradient_clip_norm, 0),
        ("trainer.early_stopping.patience", task.trainer.early_stopping.patience, 0),
        ("loss.l1", task.loss.l1, 0),
        ("loss.l2", task.loss.l2, 0),
    ):
        if number < lowest:
            raise ConfigError(f"{number} is too small", where=where, fix=f"use {lowest} or more")


def _check_weights(task: TaskConfig) -> None:
    """Refuse a loss that gives none for each row where rows will have weights."""
    if task.preprocess.overlap != "weight" and not task.data.reader.read.get("weight_column"):
        return
    criterion = locate(task.loss.criterion, kind.CRITERION, where="loss.criterion")
    if "reduction" not in inspect.signature(criterion).parameters:
        raise cannot_weigh(criterion.__name__)


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
        r".*It is recommended to use `self.log.*sync_dist=True.*",  # what is logged is the same on all ranks
        r"Found \d+ module\(s\) in eval mode at the start of training.*",  # a frozen encoder is meant to be
        r".*srun.*command is available on your system but is not used.*",
        # Steps are made before the schedule's, only not through the wrapper that the warning watches.
        r".*Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`.*",
    ):
        warnings.filterwarnings("ignore", message=words)

"""Settings that are refused before any work, and what Lightning says that is of no use here."""

from __future__ import annotations

import inspect
import logging
import warnings
from pathlib import Path

import torch

from flywheel.learner.augmentation.none import NoAugmentation
from flywheel.learner.criterion import cannot_weigh
from flywheel.learner.machine import num_devices
from flywheel.learner.ranks.world import place_from
from flywheel.project import kind
from flywheel.project.config import TaskConfig
from flywheel.project.errors import ConfigError, nearest
from flywheel.project.instantiate import locate


def check_settings(task: TaskConfig) -> None:
    """Refuse values that would only fail, or be silently ignored, later, on this machine.

    Raises:
        ConfigError: A value does not go with another, or a device is not there.
    """
    check_values(task)
    num_devices(task.trainer, place_from())


def check_values(task: TaskConfig) -> None:
    """The same, whatever machine trains.

    Raises:
        ConfigError: A value does not go with another.
    """
    monitor, known = task.metric.monitor.name, ("loss", *task.metric.train)
    if monitor not in known:
        raise ConfigError(f"'{monitor}' is not known", where="metric.monitor.name", fix=nearest(monitor, known))
    if task.trainer.compile and " " in torch.__file__:
        what = f"torch.compile cannot use a torch in a path with a space ({Path(torch.__file__).parent})"
        raise ConfigError(what, where="trainer.compile", fix="move the project, or set it to false")
    _check_weights(task)
    _check_augmentation(task)
    if task.model.fit is not None:
        _check_estimator(task)
    elif task.trainer.refit is True:
        what = f"{task.model.name} is trained by gradient, and would have to be trained anew"
        raise ConfigError(what, where="trainer.refit", fix="set it to auto, or take a model with `model.fit`")


def _check_estimator(task: TaskConfig) -> None:
    """Refuse what only a training by gradient can do."""
    loss, trainer = task.loss, task.trainer
    asked = {
        "loss.l1": loss.l1, "loss.l2": loss.l2, "loss.distil.alpha": loss.distil.alpha,
        "trainer.prune.method": trainer.prune.method != "none", "trainer.devices": trainer.devices not in (1, "auto"),
        "trainer.profiler": trainer.profiler, "callbacks": task.callbacks,
    }  # fmt: skip
    for key, value in asked.items():
        if value:
            what = f"does not go with {task.model.name}, whose parameters are found directly"
            raise ConfigError(what, where=key, fix="leave it at its default, or take a model without `fit`")


def _check_weights(task: TaskConfig) -> None:
    """Refuse a loss that gives none for each row where rows will have weights."""
    if task.preprocess.overlap != "weight" and not task.data.reader.read.get("weight_column"):
        return
    criterion = locate(task.loss.criterion, kind.CRITERION, where="loss.criterion")
    if "reduction" not in inspect.signature(criterion).parameters:
        raise cannot_weigh(criterion.__name__)


def _check_augmentation(task: TaskConfig) -> None:
    """Refuse to change rows whose features are computed once."""
    net = locate(task.model.net, kind.NET, where="model.net")
    if (
        not hasattr(net, "frozen_features")
        or locate(task.augment, kind.AUGMENTATION, where="augment") is NoAugmentation
    ):
        return
    if task.model.net.get("is_frozen", inspect.signature(net).parameters["is_frozen"].default):
        what = "the net's frozen part runs over the rows once, and what it gives cannot be augmented"
        raise ConfigError(what, where="augment", fix="choose augment: none, or set model.net.is_frozen: false")


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
        r".*callbacks used to create the checkpoint need to be provided.*",  # a resumed training may have no timer
        r".*Profiler clears events at the end of each cycle.*",
        r".*The PyTorch Profiler default schedule will be overridden.*",  # with few calls of the loop
        r".*srun.*command is available on your system but is not used.*",
        # Steps are made before the schedule's, only not through the wrapper that the warning watches.
        r".*Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`.*",
    ):
        warnings.filterwarnings("ignore", message=words)

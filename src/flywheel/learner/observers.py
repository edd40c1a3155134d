"""What looks on at a training and changes nothing of it: Lightning's loggers, callbacks and profilers.

None of them is part of the resume key, of what DVC watches or of the run's parameters: a training gives the same bytes
with them and without. They write into the folder of the run in `.flywheel/`, never into an output of a stage. The one
that ends a training, the timer, is refused where a result is one of the pipeline's (`flywheel.learner.task_check`).
"""

from __future__ import annotations

import importlib.util
import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import (
    Callback,
    DeviceStatsMonitor,
    LearningRateMonitor,
    ModelSummary,
    ProgressBar,
    Timer,
)
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from flywheel.learner.module import Learner
from flywheel.project.config import TaskConfig
from flywheel.project.errors import ConfigError, nearest
from flywheel.project.instantiate import build, locate
from flywheel.project.kind import CALLBACK, LOGGER, Kind
from flywheel.project.types import Json

log = logging.getLogger("flywheel")

_PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler
}  # fmt: skip
_OURS = {
    "save_dir": "the folder is that of the run",
    "sub_dir": "the folder is that of the run",
    "theme": "it is an object, which no setting can be",
    "console_kwargs": "they are an object's, which no setting can be",
}
"""Arguments that are no settings."""


@dataclass(frozen=True)
class Observers:
    """What looks on at one training.

    Attributes:
        callbacks: Run after those of the training itself.
        loggers: Beside MLflow.
        profiler: None: nothing is measured.
        folder: What loggers and profiler write below.
    """

    callbacks: list[Callback] = field(default_factory=list)
    loggers: list[Logger] = field(default_factory=list)
    profiler: Profiler | None = None
    folder: Path = Path()

    @property
    def shows_bar(self) -> bool:
        """Whether one of the callbacks is a progress bar."""
        return any(isinstance(one, ProgressBar) for one in self.callbacks)

    def arguments(self) -> dict[str, Any]:
        """What Lightning's Trainer is given of them; the callbacks are a part of its list."""
        return {
            "logger": self.loggers or False,
            "log_every_n_steps": 1 if self.loggers else None,  # calls of the loop, which are blocks of many steps
            "profiler": self.profiler,
            "enable_progress_bar": self.shows_bar,
            "enable_model_summary": any(isinstance(one, ModelSummary) for one in self.callbacks),
        }

    def begin(self, settings: Json) -> None:
        """Give the loggers the settings, and say where they write.

        Args:
            settings: With dotted keys.
        """
        for one in self.loggers:
            one.log_hyperparams(settings)
            log.info("%s writes into %s", type(one).__name__, one.log_dir)

    def end(self) -> None:
        """Say where the profile is."""
        if self.profiler:
            log.info("profile of the training in %s", self.folder)


def make_observers(task: TaskConfig, folder: Path, *, in_sweep: bool = False) -> Observers:
    """Make what a task's settings name.

    Args:
        task: The settings.
        folder: What they are to write below.
        in_sweep: Whether a sweep shows how the training goes: then bars and summaries are left out.

    Raises:
        ConfigError: An argument is wrong, a library is missing, or one does not go without another.
    """
    loggers = [_logger(name, node, folder) for name, node in task.logger.items()]
    made = {name: _callback(name, node) for name, node in task.callbacks.items()}
    for name, one in made.items():
        if isinstance(one, DeviceStatsMonitor | LearningRateMonitor) and not loggers:
            fix = "add logger=csv or logger=tensorboard"
            raise ConfigError("has no logger to write to", where=f"callbacks.{name}", fix=fix)
    bars = [name for name, one in made.items() if isinstance(one, ProgressBar)]
    if len(bars) > 1:
        raise ConfigError("there is another progress bar", where=f"callbacks.{bars[1]}", fix=f"leave out {bars[0]}")
    shown = [one for one in made.values() if not (in_sweep and isinstance(one, ProgressBar | ModelSummary))]
    kind = task.trainer.profiler
    profiler = _PROFILERS[kind](dirpath=folder, filename=kind) if kind else None
    return Observers([*([_Steps()] if loggers else []), *shown], loggers, profiler, folder)


class _Steps(Callback):
    """Makes a step of the loggers an optimiser step: Lightning counts calls of its loop, and each makes several."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Correct the count that the loop is about to raise by one."""
        trainer.fit_loop.epoch_loop._batches_that_stepped = cast(Learner, pl_module).steps_done - 1


def _callback(name: str, node: Mapping[str, Any]) -> Callback:
    where = f"callbacks.{name}"
    made: Callback = _built(node, CALLBACK, where)
    if isinstance(made, Timer):
        if made._interval != "epoch":
            what = "would end a training within an epoch, but scores and checkpoints are of whole epochs"
            raise ConfigError(what, where=f"{where}.interval", fix="use epoch")
        if made._duration is not None and made._duration <= 0:
            raise ConfigError("leaves no time for an epoch", where=f"{where}.duration", fix="use more")
    return made


def _logger(name: str, node: Mapping[str, Any], folder: Path) -> Logger:
    where = f"logger.{name}"
    if not any(map(importlib.util.find_spec, ("tensorboard", "tensorboardX"))) and "TensorBoard" in node["_target_"]:
        raise ConfigError("TensorBoard is not installed", where=where, fix="run `pip install 'flywheel[tensorboard]'`")
    made: Logger = _built(node, LOGGER, where, save_dir=str(folder))
    if not Path(str(made.log_dir)).resolve().is_relative_to(folder.resolve()):
        what = "name and version lead out of the folder of the run"
        raise ConfigError(what, where=where, fix="use plain names")
    return made


def _built(node: Mapping[str, Any], kind: Kind, where: str, **given: Any) -> Any:
    """Make one with arguments that it names itself: what it passes on to another library could be anything."""
    found = locate(node, kind, where=where)
    named = [one.name for one in inspect.signature(found).parameters.values() if one.kind is not one.VAR_KEYWORD]
    for key in node:
        if key in _OURS:
            raise ConfigError(f"cannot be set: {_OURS[key]}", where=f"{where}.{key}", fix="leave it out")
        if key not in ("_target_", *named):
            raise ConfigError(f"unknown key '{key}'", where=where, fix=nearest(key, named))
    try:
        return build(node, kind, where=where, **given)
    except MisconfigurationException as error:
        raise ConfigError(str(error).partition("\n")[0], where=where, fix="fix its arguments in conf/") from error

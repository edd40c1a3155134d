"""How much of the data a training sees, by the settings that have Lightning's names, and a first try of everything."""

from __future__ import annotations

from dataclasses import replace

from flywheel.project.config import TaskConfig, TrainerConfig
from flywheel.project.errors import ConfigError


def num_rows(trainer: TrainerConfig, name: str, there: int) -> int:
    """The rows of one pass under a limit.

    Args:
        trainer: The settings.
        name: That of the limit: a whole number of batches, or a float, which is a share of them.
        there: Rows in all.

    Raises:
        ConfigError: The share is less than one batch.
    """
    limit, batches = getattr(trainer, name), -(-there // trainer.batch_size)
    wanted = int(limit * batches) if isinstance(limit, float) else limit
    if not wanted:
        what = f"{limit} of {batches} batches is none"
        raise ConfigError(what, where=f"trainer.{name}", fix="use a larger share, or a number of batches such as 1")
    return min(there, int(wanted) * trainer.batch_size)


def tried(task: TaskConfig) -> TaskConfig:
    """The settings that a training goes by: those given, or with `fast_dev_run` one epoch of a few batches."""
    if not task.trainer.fast_dev_run:
        return task
    batches = int(task.trainer.fast_dev_run)
    few = replace(task.trainer, max_epochs=1, limit_train_batches=batches, limit_val_batches=batches)
    return replace(task, trainer=few)

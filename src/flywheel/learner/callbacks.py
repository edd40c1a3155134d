"""What happens round an epoch: its row of history, the best weights, the checkpoint to resume from, progress."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor
from tqdm import tqdm

from flywheel.learner.module import Learner
from flywheel.learner.outcome import Row, is_better
from flywheel.learner.ranks.ranks import Ranks
from flywheel.project.config import MonitorConfig

log = logging.getLogger("flywheel")


class History(Checkpoint):
    """Keeps a row of figures an epoch and the best epoch's weights, and writes the checkpoint to resume from.

    One object does the three because they must be of one moment: a checkpoint holds the history and the best weights
    up to its epoch, and nothing of a later one. (A `Checkpoint`, so that Lightning runs it after the others.)

    Args:
        monitor: The validation metric that decides what is best.
        checkpoint: The file to resume from; written whole or not at all.
        on_row: Told each new row, after its checkpoint is on the disk; also told the rows before a resume.
        ranks: The ranks that train together: rank 0 keeps weights and writes. None: this process is alone.

    Attributes:
        rows: The metrics of the epochs so far, which count from 1.
        best_epoch: The one whose weights are kept; 0: none yet.
        last_weights: The weights of the last epoch, after training; like the best ones on the CPU, and empty on other
            ranks.
    """

    def __init__(
        self, monitor: MonitorConfig, checkpoint: Path, on_row: Callable[[Row], None], ranks: Ranks | None = None
    ) -> None:
        self.rows: list[Row] = []
        self.best_epoch = 0
        self.best_score = float("nan")
        self.best_weights: dict[str, Tensor] = {}
        self.last_weights: dict[str, Tensor] = {}
        self._writes = ranks is None or ranks.rank == 0
        self._gathers = ranks is not None and ranks.shards  # then all ranks must take part in what rank 0 writes
        self._monitor = monitor
        self._checkpoint = checkpoint
        self._on_row = on_row
        self._num_told = 0
        self._stopped = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the rows that a resumed checkpoint brought, and stop again what had been stopped early."""
        self.tell()
        if self._stopped:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch's row, keep its weights if they are the best, write the checkpoint."""
        learner = cast(Learner, pl_module)
        figures = {key: float(value) for key, value in trainer.callback_metrics.items() if _is_ours(key)}
        row: Row = {"epoch": trainer.current_epoch + 1, "step": learner.steps_done, **dict(sorted(figures.items()))}
        self.rows.append(row)
        self._keep_best(row, learner)
        self._stopped = trainer.should_stop
        if self._writes or self._gathers:
            self._save(trainer)
        self.tell()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the last weights, before Lightning takes the network from its device."""
        if self._writes or self._gathers:
            self.last_weights = cast(Learner, pl_module).weights()

    def tell(self) -> None:
        """Pass on the rows that have not been passed on yet."""
        for row in self.rows[self._num_told :]:
            self._on_row(row)
        self._num_told = len(self.rows)

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint holds of this: rows, best epoch, best weights."""
        return {
            "rows": self.rows,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "best_weights": self.best_weights,
            "stopped": self._stopped,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state back from a checkpoint."""
        self.rows = list(state_dict["rows"])
        self.best_epoch = state_dict["best_epoch"]
        self.best_score = state_dict["best_score"]
        self.best_weights = state_dict["best_weights"]
        self._stopped = state_dict["stopped"]

    def _keep_best(self, row: Row, learner: Learner) -> None:
        score = row[f"validation/{self._monitor.name}"]
        if self.best_epoch == 0 or is_better(score, self.best_score, self._monitor.mode):
            self.best_score, self.best_epoch = score, int(row["epoch"])
            if self._writes or self._gathers:
                self.best_weights = learner.weights()

    def _save(self, trainer: pl.Trainer) -> None:
        part = self._checkpoint.with_suffix(".part")
        trainer.save_checkpoint(part, weights_only=False)
        if not self._writes:
            return
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())  # a rename may reach the disk before the bytes do
        part.replace(self._checkpoint)


def _is_ours(key: str) -> bool:
    """Whether a figure is the Learner's: Lightning's callbacks put theirs beside them, and history.csv is an output."""
    return key == "lr" or key.startswith(("train/", "validation/"))


class Unwritten(TorchCheckpointIO):
    """Writes no checkpoint: what Lightning has on a rank that only helps to gather one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Do nothing."""


class Agreed(Callback):
    """Makes all ranks stop when rank 0 does: it alone hears a sweep, and all must do the same number of epochs.

    Args:
        ranks: The ranks that train together.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over rank 0's decision; it comes after the callbacks that decide, and before the checkpoint."""
        trainer.should_stop = self._ranks.agreed(trainer.should_stop)


class Progress(Callback):
    """A line an epoch, and under the lines, in a terminal, one bar over the whole training with the time left.

    Args:
        max_epochs: Epochs of the whole training.
        num_blocks: Calls of `training_step` in an epoch.
        metric: The metric to show beside the losses, as `validation/<name>`.
        bar: Whether a terminal gets a bar.
    """

    def __init__(self, max_epochs: int, num_blocks: int, metric: str, *, bar: bool = True) -> None:
        self._max_epochs = max_epochs
        self._num_blocks = num_blocks
        self._metric = metric
        self._wants_bar = bar
        self._bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar, at the place a resumed training has reached."""
        if trainer.current_epoch:
            log.info("resuming after epoch %d of %d", trainer.current_epoch, self._max_epochs)
        if self._wants_bar and sys.stderr.isatty():
            self._bar = tqdm(
                total=self._max_epochs * self._num_blocks,
                initial=trainer.current_epoch * self._num_blocks,
                bar_format="{l_bar}{bar}| {elapsed}<{remaining}",
                dynamic_ncols=True,
                leave=False,
            )
            self._name_epoch(trainer.current_epoch + 1)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update()

    def show(self, row: Row) -> None:
        """Show an epoch's figures, in a line that fits a terminal of 80 columns and stays."""
        text = f"epoch {row['epoch']:.0f}/{self._max_epochs}  train/loss {row['train/loss']:.4f}  validation/loss "
        text += f"{row['validation/loss']:.4f}"
        if self._metric != "validation/loss":
            text += f"  {self._metric.removeprefix('validation/')} {row[self._metric]:.4f}"
        if self._bar is None:
            log.info(text)
            return
        self._bar.clear()
        log.info(text)
        self._name_epoch(int(row["epoch"]) + 1)

    def _name_epoch(self, epoch: int) -> None:
        if self._bar is not None:
            self._bar.set_description_str(f"epoch {min(epoch, self._max_epochs)}/{self._max_epochs}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the error stands on a line of its own."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

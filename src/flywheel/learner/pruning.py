"""Stops a training that a sweep has no more hope for."""

from __future__ import annotations

from collections.abc import Callable

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class Pruning(Callback):
    """Reports the monitored metric after each epoch, and ends the training early where it is asked to.

    The weights of the best epoch so far are kept as ever.

    Args:
        monitor: The validation metric's name, without `validation/`.
        tell: Gets the epoch (from 0) and the metric, and says whether to stop. It is told an epoch again where a killed
            training is resumed.
    """

    def __init__(self, monitor: str, tell: Callable[[int, float], bool]) -> None:
        self._name, self._tell = f"validation/{monitor}", tell

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell, and heed the answer."""
        if self._tell(trainer.current_epoch, float(trainer.callback_metrics[self._name])):
            trainer.should_stop = True

"""Hydra's callback that opens a sweep's parent run before its jobs and closes it, with a summary, after them."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepCallback(Callback):
    """Links the jobs of a multirun to one parent run, whichever launcher runs them.

    The parent's id goes through a file in the sweep's folder, because jobs may run in other processes.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Open the parent run."""
        from flywheel.sweep.summary import open_parent

        open_parent(Path(config.hydra.sweep.dir), str(config.name), list(config.hydra.overrides.task))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table, store it with the picture in the parent run, close it."""
        from flywheel.sweep.summary import close_parent

        close_parent(Path(config.hydra.sweep.dir), str(config.name))

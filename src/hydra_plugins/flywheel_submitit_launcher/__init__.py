"""What runs behind `hydra/launcher: submitit_slurm` and `submitit_local`; Hydra imports it at every start: it is light.

The names and their settings are the packaged plugin's. Its way to run them is not: one job a trial, of which the first
that dies breaks the batch while the others are still under way.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class LocalLauncher(Launcher):
    """Hands trials to `flywheel.sweep.run.submitit_pool`, for processes of this machine."""

    kind = "local"

    def __init__(self, **settings: Any) -> None:
        self._settings = {
            key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for key, value in settings.items()
        }
        self._pool: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what is needed; nothing is submitted before there is a trial."""
        self._context, self._task_function, self._config = hydra_context, task_function, config

    def prepare(self, slots: int, sweep: Any) -> None:
        """Take what the sweep says: trials at a time, and how often one that is killed starts again."""
        self._slots, self._max_attempts = slots, sweep.max_attempts

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of trials; what came of them is in their folders."""
        from flywheel.sweep.run.hydra_job import hydra_job
        from flywheel.sweep.run.submitit_pool import SubmititPool

        if self._pool is None:
            job = hydra_job(self._context, self._config, self._task_function)
            folder = Path(self._config.hydra.sweep.dir)
            self._pool = SubmititPool(self.kind, self._settings, job, folder, self._slots, self._max_attempts)
        self._pool.run(job_overrides)
        return []

    def close(self) -> None:
        """End the jobs; those too that a killed sweep has left, where this one found nothing more to do."""
        from flywheel.sweep.run.submitit_pool import FOLDER, cancel_left

        if self._pool is not None:
            self._pool.close()
        else:
            cancel_left(Path(self._config.hydra.sweep.dir) / FOLDER)


class SlurmLauncher(LocalLauncher):
    """The same, for jobs of Slurm."""

    kind = "slurm"

"""The Hydra plugin `hydra/launcher: ray`; Hydra imports it at every start, so it is light."""
# No `from __future__ import annotations`: Hydra reads the dataclass's types.

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class RayLauncherConfig:
    """Where the trials of a sweep run.

    Attributes:
        address: Address of a running Ray cluster (`auto`, `host:6379`); null: one of this machine alone, which ends
            with the sweep.
    """

    _target_: str = "hydra_plugins.flywheel_ray_launcher.RayLauncher"
    address: Optional[str] = None  # noqa: UP045 - OmegaConf reads it


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConfig, provider="flywheel")


class RayLauncher(Launcher):
    """Hands trials to `flywheel.sweep.run.ray_pool`."""

    def __init__(self, address: Optional[str]) -> None:  # noqa: UP045 - as above
        self._address = address
        self._pool: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what is needed; nothing is started before there is a trial."""
        self._context, self._task_function, self._config = hydra_context, task_function, config

    def prepare(self, slots: int, sweep: Any) -> None:
        """Take what the sweep says: trials at a time, and how many may share a GPU."""
        self._slots, self._jobs_per_gpu = slots, sweep.jobs_per_gpu

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of trials; what came of them is in their folders."""
        from flywheel.sweep.run.hydra_job import hydra_job
        from flywheel.sweep.run.ray_cluster import connect
        from flywheel.sweep.run.ray_pool import RayPool

        if self._pool is None:
            connect(self._address)
            job = hydra_job(self._context, self._config, self._task_function)
            self._pool = RayPool(job, Path(self._config.hydra.sweep.dir), self._slots, self._jobs_per_gpu)
        self._pool.run(job_overrides)
        return []

    def close(self) -> None:
        """End the workers, and the cluster if it is ours."""
        if self._pool is not None:
            from flywheel.project.ray_cluster import disconnect

            self._pool.close()
            disconnect()

"""A trial as a Hydra job in another process: what a launcher of ours sends there, and what is done with it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.project.params import project_root
from flywheel.sweep.search import folder as places

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

SUBDIR = "hydra.sweep.subdir="
_PASSED_ON = ("MLFLOW_", "FLYWHEEL_", "DVC_ROOT", "AWS_", "GOOGLE_APPLICATION_CREDENTIALS")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class HydraJob:
    """All that a worker needs to run any trial of a sweep; it is sent once a worker, by the launcher's own transport.

    Attributes:
        context: Hydra's, which composes a trial's settings.
        config: The sweep's settings as composed without a trial's overrides.
        task_function: Trains with one trial's settings.
        singletons: State of Hydra's singletons; the plugins and the resolvers of configuration are among them.
        root: The project's folder, which becomes the worker's working folder.
        environment: Variables that the worker is to have.
    """

    context: HydraContext
    config: DictConfig
    task_function: TaskFunction
    singletons: Any
    root: str
    environment: Mapping[str, str]

    def settle(self) -> None:
        """Make this process a worker: its folder, its environment, Hydra's state.

        Raises:
            OSError: The project's folder is not there.
        """
        from hydra.core.singleton import Singleton
        from hydra.core.utils import setup_globals

        os.chdir(self.root)
        os.environ.update(self.environment)
        setup_globals()
        Singleton.set_state(self.singletons)

    def run(self, overrides: Sequence[str]) -> None:
        """Run a trial as Hydra does; what came of it is in its folder, also where its settings cannot be composed.

        Args:
            overrides: Overrides of the trial, with the sweep's folder and the trial's folder in it.
        """
        try:
            self._run(list(overrides))
        except Exception as error:  # noqa: BLE001 - a worker has others to run, and the trial's own errors end in `job.run`
            reason = f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0]}"
            folder, number = self._place(overrides)
            if places.result_of(folder, number) is None:
                places.write_result(folder, number, {"score": float("nan"), "error": reason})

    def _run(self, overrides: list[str]) -> None:
        from hydra.core.hydra_config import HydraConfig
        from hydra.core.utils import run_job
        from omegaconf import open_dict

        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        number = trial_number(overrides)
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{number}"
            config.hydra.job.num = number
        HydraConfig.instance().set_config(config)
        run_job(
            hydra_context=self.context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )

    def _place(self, overrides: Sequence[str]) -> tuple[Path, int]:
        return Path(self.root, self.config.hydra.sweep.dir), trial_number(overrides)


def hydra_job(context: HydraContext, config: DictConfig, task_function: TaskFunction) -> HydraJob:
    """Pack what this process's Hydra knows, and those variables of its environment that trackers and stores read."""
    from hydra.core.singleton import Singleton

    environment = {key: value for key, value in os.environ.items() if key.startswith(_PASSED_ON)}
    environment.pop("FLYWHEEL_GPU", None)
    return HydraJob(context, config, task_function, Singleton.get_state(), str(project_root()), environment)


def trial_number(overrides: Sequence[str]) -> int:
    """The number of the trial whose overrides these are."""
    return int(next(word for word in reversed(overrides) if word.startswith(SUBDIR)).removeprefix(SUBDIR))


def threads_environment(num_threads: int) -> dict[str, str]:
    """Environment variables that limit a new process to a number of CPU threads."""
    return dict.fromkeys(_THREADS, str(num_threads))

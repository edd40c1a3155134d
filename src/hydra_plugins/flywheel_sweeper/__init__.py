"""The Hydra plugin `hydra/sweeper: flywheel`; Hydra imports it at every start, so it is light."""
# No `from __future__ import annotations`: Hydra reads the dataclass's types.

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict


@dataclass
class FlywheelSweeperConfig:
    """Nothing to set here: the settings of a sweep are under `sweep`."""

    _target_: str = "hydra_plugins.flywheel_sweeper.FlywheelSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="flywheel", node=FlywheelSweeperConfig, provider="flywheel")

_LAUNCHER = ("hydra/launcher=", "hydra.launcher.")
_PACKAGED, _OURS = (
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.",
    "hydra_plugins.flywheel_submitit_launcher.",
)


class FlywheelSweeper(Sweeper):
    """Hands a multirun to `flywheel.sweep.search.controller`."""

    _context: HydraContext
    _config: DictConfig
    _task_function: TaskFunction
    _launcher: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what is needed; the launcher is made when the sweep's folder is known."""
        self._context, self._task_function, self._config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep, or go on with it."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from flywheel.learner.ranks.world import place_from
        from flywheel.project.errors import ConfigError
        from flywheel.sweep.search.controller import Setup, run
        from flywheel.sweep.search.settings import sweep_from
        from flywheel.sweep.search.space import dimensions, split
        from flywheel.sweep.search.storage import refuse_password

        if place_from() and self._runs_several:
            what = "several trials at a time cannot share the ranks that torchrun or srun has started"
            raise ConfigError(what, where="hydra/launcher", fix="use basic")
        config = sweep_from(OmegaConf.to_container(self._config.get("sweep"), resolve=True))
        refuse_password(config.storage)
        parser = OverridesParser.create(config_loader=self._context.config_loader)
        base, swept = split(parser.parse_overrides(arguments))
        plain = {key: self._config[key] for key in self._config if key not in ("hydra", "sweep")}
        setup = Setup(
            config=config,
            task=OmegaConf.to_container(OmegaConf.create(plain), resolve=True),  # type: ignore[arg-type]  # a mapping
            base=base,
            space=dimensions(config.params, swept, config.method),
            folder=Path(self._config.hydra.sweep.dir),
            slots=self._slots(config),
            launcher=[word for word in self._config.hydra.overrides.hydra if word.startswith(_LAUNCHER)],
        )
        try:
            return run(setup, arguments, lambda folder: self._launch(folder, config, setup.slots))
        finally:
            if hasattr(self._launcher, "close"):
                self._launcher.close()

    def _slots(self, config: Any) -> int:
        """Trials at a time: of this machine, of the cluster, or one without a launcher that runs several."""
        from flywheel.sweep.run.slots import num_slots

        launcher = self._config.hydra.launcher
        if not self._runs_several:
            return 1
        kind = str(launcher._target_).rpartition(".")[2]
        if config.slots == "auto" and kind == "RayLauncher":
            from flywheel.sweep.run import ray_cluster

            ray_cluster.connect(launcher.address)
            return ray_cluster.num_places(ray_cluster.nodes(), config.jobs_per_gpu)
        if config.slots == "auto" and "array_parallelism" in launcher:
            return int(launcher.array_parallelism)
        return num_slots(config, self._config.trainer.devices)

    @property
    def _runs_several(self) -> bool:
        return not str(self._config.hydra.launcher._target_).endswith("BasicLauncher")

    def _launch(self, folder: Path, config: Any, slots: int) -> Any:
        from hydra.core.plugins import Plugins

        launcher = self._config.hydra.launcher
        with open_dict(self._config):
            self._config.hydra.sweep.dir = str(folder)  # for the launcher's own files
            launcher._target_ = launcher._target_.replace(_PACKAGED, _OURS)
            if "n_jobs" in launcher:
                launcher.n_jobs = slots
        self._launcher = Plugins.instance().instantiate_launcher(
            config=self._config, hydra_context=self._context, task_function=self._task_function
        )
        if hasattr(self._launcher, "prepare"):  # ours: they keep workers from batch to batch
            self._launcher.prepare(slots, config)

        def launch(jobs: Sequence[Sequence[str]], first: int) -> Any:
            return self._launcher.launch(jobs, initial_job_idx=first)

        return launch

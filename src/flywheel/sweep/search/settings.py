"""What `sweep:` may hold: how a multirun searches, resumes, prunes and shares the machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge

from flywheel.project.errors import ConfigError
from flywheel.project.settings import NonNegativeInt, PositiveInt, settings_from

Method = Literal["grid", "random", "tpe", "nsga2"]
Objective = Literal["score", "latency_ms", "num_bytes", "num_parameters"]
DEFAULT_TRIALS = 20


@dataclass
class PrunerConfig:
    """Which trials are stopped early; they are compared after each epoch, across processes.

    Attributes:
        name: `none`; `median`: worse than the median of the others at that epoch; `asha` (Li et al. 2020,
            arXiv:1810.05934) and `hyperband` (Li et al. 2018, JMLR 18): only the best share goes on at each rung.
        startup_trials: `median`: the first trials, which are never stopped, so that there is something to compare
            with.
        warmup_epochs: Epochs before the first trial can be stopped; with `asha` and `hyperband` the first rung.
        reduction_factor: `asha`, `hyperband`: one trial in so many goes on.
    """

    name: Literal["none", "median", "asha", "hyperband"] = "none"
    startup_trials: NonNegativeInt = 4
    warmup_epochs: PositiveInt = 1
    reduction_factor: Annotated[int, Ge(2)] = 3


@dataclass
class SweepConfig:
    """How a multirun searches.

    Attributes:
        method: How values are chosen: `grid` (every combination), `random`, `tpe` (Bergstra et al. 2011, NeurIPS:
            drawn where trials did well), or `nsga2` (Deb et al. 2002: for several objectives).
        params: The search space: for each key its values in override syntax, or `{values: ..., when:
            other.key=value}`; what the command line sweeps is added.
        num_trials: Number of trials; null: all of a grid, else 20.
        seed: Seed of the sampler.
        resume: `never`, or `auto`: the newest unfinished sweep of the same command goes on.
        storage: SQLAlchemy URL of Optuna's studies, without a password; null: `FLYWHEEL_SWEEP_STORAGE`, or sqlite in
            `.flywheel/`.
        objectives: What is optimised: `score` (the monitored validation metric of the kept epoch), then any of
            `latency_ms`, `num_bytes` and `num_parameters`, which are minimised.
        population: `nsga2`: trials in one generation.
        pruner: Which trials are stopped early.
        max_failures: Number of failed trials after which no further trial is started.
        max_attempts: Number of times that a trial is started which is killed before it finishes an epoch; then it
            counts as failed.
        slots: Trials that run at the same time, for launchers that run several; `auto`: one for each GPU, or else one
            for each core.
        jobs_per_gpu: How many trials may share a GPU.
    """

    method: Method = "grid"
    params: dict[str, Any] = field(default_factory=dict)
    num_trials: PositiveInt | None = None
    seed: int = 0
    resume: Literal["never", "auto"] = "never"
    storage: str | None = None
    objectives: list[Objective] = field(default_factory=lambda: ["score"])
    population: Annotated[int, Ge(2)] = 10
    pruner: PrunerConfig = field(default_factory=PrunerConfig)
    max_failures: PositiveInt = 10
    max_attempts: PositiveInt = 3
    slots: PositiveInt | Literal["auto"] = "auto"
    jobs_per_gpu: PositiveInt = 1

    def check(self, where: str) -> None:
        """Refuse objectives of which the score is not the first, and pruning of what is not one objective."""
        names = self.objectives
        if not names or names[0] != "score" or len(set(names)) < len(names):
            what = f"{names} must begin with score, and name each only once"
            raise ConfigError(what, where=f"{where}.objectives", fix="for one: [score, num_bytes]")
        if len(names) > 1 and self.pruner.name != "none":
            what = "a trial cannot be stopped early where there are several objectives"
            raise ConfigError(what, where=f"{where}.pruner.name", fix="set it to none, or the objectives to [score]")


def sweep_from(raw: Any) -> SweepConfig:
    """Read the settings of a sweep.

    Raises:
        ConfigError: They hold what `settings_from` refuses.
    """
    return settings_from(SweepConfig, raw or {}, "sweep")

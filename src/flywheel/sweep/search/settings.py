"""What `sweep:` may hold: how a multirun searches, resumes, prunes and shares the machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flywheel.project.errors import ConfigError, nearest
from flywheel.project.params import settings_from

METHODS = ("grid", "random", "tpe", "nsga2")
RESUME = ("never", "auto")
PRUNERS = ("none", "median", "asha", "hyperband")
OBJECTIVES = ("score", "latency_ms", "num_bytes", "num_parameters")
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

    name: str = "none"
    startup_trials: int = 4
    warmup_epochs: int = 1
    reduction_factor: int = 3


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

    method: str = "grid"
    params: dict[str, Any] = field(default_factory=dict)
    num_trials: int | None = None
    seed: int = 0
    resume: str = "never"
    storage: str | None = None
    objectives: list[str] = field(default_factory=lambda: ["score"])
    population: int = 10
    pruner: PrunerConfig = field(default_factory=PrunerConfig)
    max_failures: int = 10
    max_attempts: int = 3
    slots: Any = "auto"
    jobs_per_gpu: int = 1


def sweep_from(raw: Any) -> SweepConfig:
    """Read and check the settings of a sweep.

    Raises:
        ConfigError: A key or a value is not known, or too small.
    """
    config = settings_from(SweepConfig, raw or {}, "sweep")
    for where, value, known in (
        ("method", config.method, METHODS),
        ("resume", config.resume, RESUME),
        ("pruner.name", config.pruner.name, PRUNERS),
        *((f"objectives[{i}]", name, OBJECTIVES) for i, name in enumerate(config.objectives)),
    ):
        if value not in known:
            raise ConfigError(f"'{value}' is not known", where=f"sweep.{where}", fix=nearest(value, known))
    for where, number, lowest in (
        ("num_trials", 1 if config.num_trials is None else config.num_trials, 1),
        ("population", config.population, 2),
        ("pruner.startup_trials", config.pruner.startup_trials, 0),
        ("pruner.warmup_epochs", config.pruner.warmup_epochs, 1),
        ("pruner.reduction_factor", config.pruner.reduction_factor, 2),
        ("max_failures", config.max_failures, 1),
        ("max_attempts", config.max_attempts, 1),
        ("slots", 1 if config.slots == "auto" else config.slots, 1),
        ("jobs_per_gpu", config.jobs_per_gpu, 1),
    ):
        if not isinstance(number, int) or isinstance(number, bool) or number < lowest:
            what = f"{number!r} is no whole number from {lowest}"
            raise ConfigError(what, where=f"sweep.{where}", fix=f"use {lowest} or more")
    _check_objectives(config)
    return config


def _check_objectives(config: SweepConfig) -> None:
    if not config.objectives or config.objectives[0] != "score" or len(set(config.objectives)) < len(config.objectives):
        what = f"{config.objectives} must begin with score, and name each only once"
        raise ConfigError(what, where="sweep.objectives", fix="for one: [score, num_bytes]")
    if len(config.objectives) > 1 and config.pruner.name != "none":
        what = "a trial cannot be stopped early where there are several objectives"
        raise ConfigError(what, where="sweep.pruner.name", fix="set it to none, or sweep.objectives to [score]")

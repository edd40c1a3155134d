"""A sweep's study in Optuna: draws trials, takes results, and recovers after a kill."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from flywheel.sweep.search.settings import PrunerConfig, SweepConfig
from flywheel.sweep.search.space import Dimension, combinations
from flywheel.sweep.search.storage import open_storage, quiet_optuna
from flywheel.sweep.search.trial import Objective

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.study import Study as OptunaStudy
    from optuna.trial import FrozenTrial

PARAMS, DUPLICATE = "params", "duplicate_of"
_MAX_DUPLICATES = 200


class Study:
    """One sweep's study.

    A trial is in the database before its job starts, with its params, and is told once, after it; what a killed sweep
    leaves is therefore either waiting, or running with its params known, or ended.

    Args:
        name: Name, unique in the storage.
        config: The sweep's settings.
        space: The search space.
        objectives: The figures, the score first.
        slots: Trials that run at one time.
        max_epochs: The largest number of epochs of one training; the most that `hyperband` reckons with.
        storage: None: opened from the settings.
    """

    def __init__(
        self,
        name: str,
        config: SweepConfig,
        space: Sequence[Dimension],
        objectives: Sequence[Objective],
        slots: int,
        max_epochs: int,
        storage: BaseStorage | None = None,
    ) -> None:
        optuna = quiet_optuna()
        self.name, self._config, self._space = name, config, space
        directions = ["maximize" if one.mode == "max" else "minimize" for one in objectives]
        self.optuna: OptunaStudy = optuna.create_study(
            storage=storage or open_storage(config.storage),
            study_name=name,
            directions=directions,
            load_if_exists=True,
            pruner=make_pruner(config.pruner, max_epochs),
        )
        # Another seed after a resume: the same one would draw the first trials' params again.
        self.optuna.sampler = _sampler(config, slots, len(self.optuna.get_trials(deepcopy=False)))
        if config.method == "grid" and not self.optuna.get_trials(deepcopy=False):
            for params in combinations(space):
                self.optuna.enqueue_trial(params, user_attrs={PARAMS: json.dumps(params)})

    def trials(self) -> list[FrozenTrial]:
        """All trials, but those that only repeat another's params, or were drawn no further than half."""
        return [one for one in self.optuna.get_trials(deepcopy=False) if PARAMS in one.user_attrs and not _repeats(one)]

    def unfinished(self) -> list[FrozenTrial]:
        """Trials that were started by a sweep that is no more, and have not ended."""
        return [one for one in self.trials() if one.state.name == "RUNNING"]

    def ask(self) -> tuple[int, dict[str, str]] | None:
        """Draw params that no trial has had.

        Returns:
            The trial's number and its params; None where there are none left.
        """
        known = {_key(params_of(one)): one for one in self.trials() if one.state.name != "WAITING"}
        for _ in range(_MAX_DUPLICATES):
            if self._config.method == "grid" and not self._waiting():
                return None
            trial = self.optuna.ask()
            params: dict[str, str] = {}
            for dimension in self._space:
                if dimension.exists(params):
                    params[dimension.key] = dimension.suggest(trial)
            same = known.get(_key(params))
            if same is not None:  # before the params: a kill in between must not leave a trial that looks new
                trial.set_user_attr(DUPLICATE, same.number)
            trial.set_user_attr(PARAMS, json.dumps(params))
            if same is None:
                return trial.number, params
            # The sampler learns from it what it would have learnt from training the same thing again.
            self.tell(trial.number, same.values if same.state.name == "COMPLETE" else None)
        return None

    def tell(self, number: int, values: Sequence[float] | None, *, pruned: bool = False) -> None:
        """End a trial: with its objectives, as pruned, or (None) as failed."""
        state = quiet_optuna().trial.TrialState
        good = values is not None and all(math.isfinite(value) for value in values)
        with _expected_warnings():
            if pruned:
                self.optuna.tell(number, state=state.PRUNED)
            elif good:
                self.optuna.tell(number, list(values or ()))
            else:
                self.optuna.tell(number, state=state.FAIL)

    def front(self) -> set[int]:
        """Numbers of the trials that no other is better than in every objective."""
        return {one.number for one in self.optuna.best_trials if not _repeats(one)}

    def _waiting(self) -> bool:
        return any(one.state.name == "WAITING" for one in self.optuna.get_trials(deepcopy=False))


def params_of(trial: FrozenTrial) -> dict[str, str]:
    """A trial's params, as overrides write them."""
    found: dict[str, str] = json.loads(trial.user_attrs[PARAMS])
    return found


def make_pruner(config: PrunerConfig, max_epochs: int) -> BasePruner:
    """Build what decides whether a trial goes on."""
    pruners = quiet_optuna().pruners
    made: BasePruner
    if config.name == "median":
        made = pruners.MedianPruner(n_startup_trials=config.startup_trials, n_warmup_steps=config.warmup_epochs)
    elif config.name == "asha":
        made = pruners.SuccessiveHalvingPruner(
            min_resource=config.warmup_epochs, reduction_factor=config.reduction_factor
        )
    elif config.name == "hyperband":
        made = pruners.HyperbandPruner(
            min_resource=config.warmup_epochs, max_resource=max_epochs, reduction_factor=config.reduction_factor
        )
    else:
        made = pruners.NopPruner()
    return made


def _sampler(config: SweepConfig, slots: int, num_before: int) -> BaseSampler:
    samplers = quiet_optuna().samplers
    seed = config.seed + num_before
    made: BaseSampler
    with _expected_warnings():
        if config.method == "tpe":
            # Trials that run at the same time count as bad ones till they end, so that they keep apart.
            made = samplers.TPESampler(seed=seed, constant_liar=slots > 1)
        elif config.method == "nsga2":
            made = samplers.NSGAIISampler(seed=seed, population_size=config.population)
        else:
            made = samplers.RandomSampler(seed=seed)
    return made


def _repeats(trial: FrozenTrial) -> bool:
    return DUPLICATE in trial.user_attrs


def _key(params: dict[str, str]) -> str:
    return json.dumps(params, sort_keys=True)


@contextlib.contextmanager
def _expected_warnings() -> Iterator[None]:
    """Silence what Optuna says of features that it calls experimental."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=quiet_optuna().exceptions.ExperimentalWarning)
        yield

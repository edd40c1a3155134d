"""Runs a sweep: draws trials, gives them to Hydra's launcher, reports results to the study, survives failed ones."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from flywheel.project.database import without_password
from flywheel.project.errors import ConfigError, FlywheelError, StoreError
from flywheel.project.types import Json
from flywheel.sweep.search import folder as places
from flywheel.sweep.search.folder import SweepPlan
from flywheel.sweep.search.objectives import objectives_of
from flywheel.sweep.search.settings import DEFAULT_TRIALS, SweepConfig
from flywheel.sweep.search.space import Dimension, num_combinations, overrides_of
from flywheel.sweep.search.storage import storage_url, studies_must_work
from flywheel.sweep.search.study import Study, params_of
from flywheel.sweep.show import summary
from flywheel.sweep.show.watch import watched

log = logging.getLogger("flywheel")

Launch = Callable[[list[list[str]], int], Any]
_INTERNAL = ("sweep.", "sweep=", "sweep/", "hydra.", "hydra/")


@dataclass(frozen=True)
class Setup:
    """What a sweep starts from.

    Attributes:
        config: The sweep's settings.
        task: The task's settings, composed without what is swept.
        base: Overrides that all trials share, as typed; those of `sweep` and `hydra` included.
        space: The search space.
        folder: Folder for a new sweep.
        slots: Number of trials at a time.
        launcher: Overrides that say where the trials run; not part of what a sweep is.
    """

    config: SweepConfig
    task: Json
    base: list[str]
    space: list[Dimension]
    folder: Path
    slots: int
    launcher: list[str] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """Hash of what is trained and how it is searched; not of what may change when a sweep goes on."""
        from flywheel.project.digest import sha256_of_json

        free = ("resume", "storage", "slots", "jobs_per_gpu", "max_failures", "max_attempts")
        settings = {key: value for key, value in asdict(self.config).items() if key not in free}
        return sha256_of_json([settings, self.task, [asdict(one) for one in self.space]])[:16]

    def plan(self, command: str) -> SweepPlan:
        """The sweep as its folder holds it."""
        monitor = self.task["metric"]["monitor"]
        return SweepPlan(
            identity=self.identity,
            study=f"{self.task['name']}/{self.folder.name}",
            command=command,
            num_planned=num_planned(self.config, self.space),
            space=self.space,
            objectives=objectives_of(self.config.objectives, monitor["name"], monitor["mode"]),
        )


def num_planned(config: SweepConfig, space: Sequence[Dimension]) -> int:
    """How many trials a sweep is to have.

    Raises:
        ConfigError: A grid has too many.
    """
    listed = num_combinations(space)
    if config.method != "grid":
        wanted = config.num_trials or DEFAULT_TRIALS
        return min(wanted, listed) if listed is not None else wanted
    if listed is None:
        fix = "take fewer values, or +sweep=random"
        raise ConfigError("the grid has over 100,000 combinations", where="command line", fix=fix)
    return min(listed, config.num_trials or listed)


def task_words(words: Sequence[str]) -> list[str]:
    """Those overrides that say what is trained, without those that say how it is searched or run."""
    return [word for word in words if not word.lstrip("+~").startswith(_INTERNAL)]


def run(setup: Setup, words: Sequence[str], make_launch: Callable[[Path], Launch]) -> None:
    """Run a sweep, or go on with it, till all its trials have ended.

    Args:
        setup: Setup of the sweep.
        words: The command line's overrides, as typed.
        make_launch: Makes Hydra's launcher for the sweep's folder.

    Raises:
        ConfigError: The space or the storage is wrong, or another process works on the sweep.
        StoreError: MLflow's store or the studies' database has gone; the sweep can go on when it is back.
    """
    shown = [word for word in words if not word.startswith("sweep.resume=")]
    plan = setup.plan("python -m flywheel.train -m " + shlex.join([*shown, *setup.launcher]))
    left = places.unfinished(setup.folder.parent, plan.identity) if setup.config.resume == "auto" else None
    folder = left or setup.folder
    with places.held(folder):
        found = places.read_plan(folder) if left else None
        plan = found or plan
        if found is None:
            places.write_plan(folder, plan)
        summary.open_parent(folder, str(setup.task["name"]), list(shown), plan)
        with summary.closing_parent(folder, plan) as closing:
            sweep = _Sweep(setup, plan, folder, make_launch(folder))
            closing.study = sweep.study
            if left:
                places.clear_stop(folder)
                sweep.catch_up()
                log.info("going on with %s: %d of %d trials have ended", folder, sweep.num_ended, plan.num_planned)
            with watched(folder, plan), studies_must_work(setup.config.storage):
                sweep.run()
            closing.exhausted = sweep.exhausted
            if sweep.num_ended >= plan.num_planned or sweep.exhausted:
                places.write_plan(folder, replace(plan, finished=True))


class _Sweep:
    """The loop: what is unfinished first, then new trials, a batch at a time."""

    def __init__(self, setup: Setup, plan: SweepPlan, folder: Path, launch: Launch) -> None:
        self._setup, self._plan, self._folder, self._launch = setup, plan, folder, launch
        config, self._max_epochs = setup.config, int(setup.task["trainer"]["max_epochs"])
        self.study = Study(plan.study, config, setup.space, plan.objectives, setup.slots, self._max_epochs)
        self.exhausted = False
        self._alone: set[int] = set()

    @property
    def num_ended(self) -> int:
        """Trials that have ended, well or not."""
        return sum(one.state.is_finished() for one in self.study.trials())

    def catch_up(self) -> None:
        """Tell the study of the trials that ended while no sweep listened."""
        for trial in self.study.unfinished():
            self._hear(trial.number)

    def run(self) -> None:
        """Launch till all planned trials have ended, or too many have failed."""
        while batch := self._next_batch():
            self._launch_all(batch)
            for number, _ in batch:
                self._hear(number)

    def _next_batch(self) -> list[tuple[int, dict[str, str]]]:
        if why := places.why_stopped(self._folder):
            raise StoreError(why)
        for trial in self.study.unfinished():
            self._hear(trial.number, last=True)
        if places.is_hopeless(self._folder, self._setup.config.max_failures):
            limit = self._setup.config.max_failures
            log.error("%d trials have failed (sweep.max_failures): no more are started", limit)
            return []
        left = [(one.number, params_of(one)) for one in self.study.unfinished()]
        # Who killed the workers is not known: those that had begun go on one by one, so that none takes others along.
        for one in left:
            if one[0] in self._alone:
                return [one]
        config, room = self._setup.config, self._plan.num_planned - self.num_ended - len(left)
        size = min(room, max(self._setup.slots - len(left), 0))
        if config.method in ("grid", "random"):
            size = room  # what they draw does not depend on results: all at once, so that no worker waits for another
        elif config.method == "nsga2":
            size = min(room, config.population)
        for _ in range(size):
            drawn = self.study.ask()
            if drawn is None:
                self.exhausted = True
                log.info("nothing new is left to try: the sweep ends before its %d trials", self._plan.num_planned)
                break
            left.append(drawn)
        return left

    def _launch_all(self, batch: Sequence[tuple[int, dict[str, str]]]) -> None:
        jobs = []
        for number, params in batch:
            words = [*self._setup.base, *overrides_of(params)]
            places.note_trial(self._folder, number, params, {"overrides": task_words(words), **self._noted()})
            # Hydra composes each job anew: only as an override does a sweep that goes on keep its folder.
            jobs.append([*words, f"hydra.sweep.dir='{self._folder}'", f"hydra.sweep.subdir={number}"])
        why = "its job ended without a result"
        try:
            self._launch(jobs, batch[0][0])
        except FlywheelError:  # no trial's own: one ends as a result
            raise
        except Exception as error:  # noqa: BLE001 - whatever launchers raise when a worker was killed
            why = f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no reason given'])[0][:300]}"
            log.warning("the launcher broke (%s); going on", why)
        self._look_after(batch, why)

    def _look_after(self, batch: Sequence[tuple[int, dict[str, str]]], why: str) -> None:
        """Find out which trials of a batch are to go on alone; one that cannot even begin alone has failed."""
        left = {number for number, _ in batch if places.result_of(self._folder, number) is None}
        if places.why_stopped(self._folder) or places.is_hopeless(self._folder, self._setup.config.max_failures):
            return
        began = {number for number in left if places.fruitless_starts(self._folder, number)}
        if len(batch) == 1 and left and not began:
            places.write_result(self._folder, batch[0][0], {"score": float("nan"), "error": why})
            left = set()
        self._alone = began or left

    def _noted(self) -> Json:
        """What a job must know of the sweep."""
        config = self._setup.config
        return {
            "study": self._plan.study,
            "storage": without_password(storage_url(config.storage)),
            "pruner": asdict(config.pruner),
            "max_epochs": self._max_epochs,
            "objectives": config.objectives,
            "jobs_per_gpu": config.jobs_per_gpu,
            "max_failures": config.max_failures,
        }

    def _hear(self, number: int, *, last: bool = False) -> None:
        """Tell the study what a trial came to; `last`: one that keeps dying without a result has failed."""
        result = places.result_of(self._folder, number)
        if result is None:
            starts = places.fruitless_starts(self._folder, number)
            if not last or starts < self._setup.config.max_attempts:
                return
            result = {"score": float("nan"), "error": f"killed {starts} times, perhaps for its memory"}
            places.write_result(self._folder, number, result)
        if "error" in result:
            self.study.tell(number, None)
        else:
            self.study.tell(number, result.get("values") or [result["score"]], pruned=bool(result.get("pruned")))

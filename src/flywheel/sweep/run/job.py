"""A trial's job, wherever a launcher runs it: its log, its GPU, its curve, and whether it goes on."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.project.database import interrupts_held
from flywheel.project.errors import FlywheelError, StoreError
from flywheel.project.types import Json
from flywheel.sweep.run.slots import claim_gpu
from flywheel.sweep.search import folder as places
from flywheel.sweep.search.storage import studies_must_work

if TYPE_CHECKING:
    from optuna.trial import Trial as OptunaTrial

log = logging.getLogger("flywheel")

# CUDA's and the kernel's words, those of torch for the CPU (which raises a plain RuntimeError), those of C++.
_OUT_OF_MEMORY = ("out of memory", "cannot allocate memory", "can't allocate memory", "not enough memory", "bad_alloc")


class TrialJob:
    """Records the progress of a trial's training.

    Args:
        place: Folder of the trial.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.noted: Json = json.loads((place / places.TRIAL).read_text())
        self.curve: list[float] = places.curve_of(place)
        self.pruned = False
        self._trial: OptunaTrial | None = None

    @property
    def objectives(self) -> list[str]:
        """Names of the figures that the sweep asks for, the score first."""
        return list(self.noted["objectives"])

    def tell(self, epoch: int, metric: float) -> bool:
        """Take an epoch's metric; says whether the trial is to stop here."""
        self.curve = [*self.curve[:epoch], metric]
        places.write_curve(self.place, self.curve)
        if self.noted["pruner"]["name"] == "none" or not math.isfinite(metric):
            return False
        with studies_must_work(self.noted["storage"]), interrupts_held(), warnings.catch_warnings():
            # A resumed training may tell an epoch again: the first time counts.
            warnings.filterwarnings("ignore", message=".*reported value is ignored.*")
            trial = self._optuna_trial()
            trial.report(metric, epoch)
            self.pruned = trial.should_prune()
        if self.pruned:
            log.info("stopped after epoch %d: %s", epoch + 1, self.noted["pruner"]["name"])
        return self.pruned

    def _optuna_trial(self) -> OptunaTrial:
        """The trial in the study's database, which all workers share."""
        if self._trial is None:
            import optuna

            from flywheel.sweep.search.settings import PrunerConfig
            from flywheel.sweep.search.storage import open_storage
            from flywheel.sweep.search.study import make_pruner

            study = optuna.load_study(
                study_name=self.noted["study"],
                storage=open_storage(self.noted["storage"]),
                sampler=optuna.samplers.RandomSampler(),
                pruner=make_pruner(PrunerConfig(**self.noted["pruner"]), self.noted["max_epochs"]),
            )
            trial_id = study.get_trials(deepcopy=False)[self.noted["number"]]._trial_id
            self._trial = optuna.trial.Trial(study, trial_id)
        return self._trial


def run(place: Path, work: Callable[[TrialJob], Json], *, gpus: int = 1) -> float:
    """Do a trial's work and write its `result.json`, whatever happens short of a kill.

    Args:
        place: The trial's folder, with its `trial.json`.
        work: Trains; gives the result.
        gpus: Number of GPUs that it takes, where there are any.

    Returns:
        The score; NaN where it failed, or was not started or not ended, because the sweep has been stopped.
    """
    if places.why_stopped(place.parent) or places.is_hopeless(
        place.parent, json.loads((place / places.TRIAL).read_text())["max_failures"]
    ):
        return math.nan
    started = time.perf_counter()
    places.count_start(place)
    with _logged_to(place / places.LOG):
        try:
            job = TrialJob(place)
            with claim_gpu(job.noted["jobs_per_gpu"], gpus) as claimed:
                log.info("on %s%s", socket.gethostname(), f", GPU {claimed}" if claimed else "")
                result = work(job)
            result |= {"curve": job.curve, **({"pruned": True} if job.pruned else {})}
        except StoreError as error:
            # Nothing is wrong with the trial: it stays under way till the store is back and the sweep goes on.
            log.error("interrupted: %s", error)
            places.stop(place, str(error))
            return math.nan
        except Exception as error:
            known = isinstance(error, FlywheelError)
            log.error("failed: %s", error, exc_info=None if known else error)
            result = {"error": _reason(error), "score": math.nan}
    result["seconds"] = round(time.perf_counter() - started, 3)
    places.write_result(place.parent, int(place.name), result)
    return float(result["score"])


def _reason(error: Exception) -> str:
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    if isinstance(error, MemoryError) or any(words in text.lower() for words in _OUT_OF_MEMORY):
        return f"ran out of memory: {first}"
    return first if isinstance(error, FlywheelError) else f"{type(error).__name__}: {first}"


@contextlib.contextmanager
def _logged_to(file: Path) -> Iterator[None]:
    """Send what this thread logs to a file instead of standard error: many jobs may run at one time."""
    thread = threading.get_ident()
    handler = logging.FileHandler(file, mode="a")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    handler.addFilter(lambda record: record.thread == thread)
    others = [(other, _elsewhere(thread)) for other in log.handlers]
    for other, guard in others:
        other.addFilter(guard)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
        for other, guard in others:
            other.removeFilter(guard)


def _elsewhere(thread: int) -> Callable[[logging.LogRecord], bool]:
    return lambda record: record.thread != thread

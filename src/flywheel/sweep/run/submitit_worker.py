"""What a job that submitit has submitted does: takes one trial of a sweep after the other from a folder that all see.

<sweep>/.submitit/<session>/<round>-<trial>.json     a trial's overrides, from the sweep; .done when it has ended
<sweep>/.submitit/<session>/<round>-<trial>.claim    the job that has taken it
<sweep>/.submitit/<session>/alive, stop              that the sweep lives; that there is nothing more to come
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.sweep.run.hydra_job import HydraJob, threads_environment, trial_number
from flywheel.sweep.search.folder import fruitless_starts, result_of

ALIVE, STOP = "alive", "stop"
CLAIM, DONE = ".claim", ".done"
_POLL_SECONDS = 0.3
_SILENCE_SECONDS = 120.0


@dataclass
class Worker:
    """Takes trials till there is nothing more to come; submitit sends it to the job.

    Attributes:
        job: Job that runs a trial.
        session: The folder that trials are taken from.
        threads: CPU threads of a trial; None: as many as Slurm gives the job.
        max_attempts: Starts without a finished epoch, after which a trial is left to the sweep.
    """

    job: HydraJob
    session: str
    threads: int | None
    max_attempts: int

    def __call__(self) -> None:
        """Be the job.

        Raises:
            SystemExit: Submitit has queued the job again (time limit, preemption); it begins with the same trial.
        """
        import submitit

        name = submitit.JobEnvironment().job_id
        given = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE") or "1"
        os.environ.update(threads_environment(self.threads or int(given)))
        self.job.settle()
        silent = _silence_of(Path(self.session, ALIVE))
        try:
            while True:
                taken = self._take(name)
                if taken is not None:
                    self._run(taken)
                elif Path(self.session, STOP).exists() or silent() > _SILENCE_SECONDS:
                    return
                else:
                    time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt as error:
            if isinstance(error.__context__, SystemExit):  # submitit's, which training takes for Ctrl+C
                sys.exit(error.__context__.code)
            raise

    def checkpoint(self) -> Any:
        """What submitit queues again: the same worker."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)

    def _take(self, name: str) -> Path | None:
        """Claim a trial; one that this job had before it was queued again comes first."""
        queued = sorted(Path(self.session).glob("*.json"))
        return next((one for one in queued if owner(one) == name), None) or next(
            (one for one in queued if owner(one) is None and _claim(one, name)), None
        )

    def _run(self, taken: Path) -> None:
        overrides = list(json.loads(taken.read_text()))
        folder, number = Path(self.session).parent.parent, trial_number(overrides)
        if result_of(folder, number) is None and fruitless_starts(folder, number) < self.max_attempts:
            self.job.run(overrides)
        taken.rename(taken.with_suffix(DONE))


def _claim(taken: Path, name: str) -> bool:
    """Take a trial that no other job has; a link is made whole or not at all, on shared file systems too."""
    part = taken.with_name(f"{taken.stem}.{name}.part")
    part.write_text(name)
    try:
        taken.with_suffix(CLAIM).hardlink_to(part)
    except FileExistsError:
        return False
    finally:
        part.unlink()
    return True


def owner(taken: Path) -> str | None:
    """The job that has taken a trial; None: none."""
    try:
        return taken.with_suffix(CLAIM).read_text()
    except FileNotFoundError:
        return None


def _silence_of(file: Path) -> Callable[[], float]:
    """Gives seconds since a file was last seen to change, by this machine's clock alone."""
    last, since = -1, time.monotonic()

    def silent() -> float:
        nonlocal last, since
        try:
            now = file.stat().st_mtime_ns
        except FileNotFoundError:
            now = 0
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since

    return silent

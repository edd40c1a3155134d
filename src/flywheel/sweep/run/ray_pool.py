"""Trials on a Ray cluster: workers that import once, take one trial after the other, and may die alone."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flywheel.project.errors import ConfigError, FlywheelError
from flywheel.sweep.run import ray_cluster as cluster
from flywheel.sweep.run.hydra_job import HydraJob, threads_environment, trial_number

log = logging.getLogger("flywheel")

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0
_MAX_FALSE_STARTS = 3
_MARK = "ray.token"


class TrialWorker:
    """What runs in a worker's process."""

    def __init__(self) -> None:
        self._job: HydraJob | None = None

    def settle(self, job: HydraJob, mark: str, token: str) -> tuple[str, str]:
        """Get ready for trials.

        Args:
            job: Job that runs a trial.
            mark: A file in the sweep's folder.
            token: Contents of that file, if it is the same folder.

        Returns:
            The machine's name, and what is wrong (empty: nothing).
        """
        try:
            if Path(mark).read_text() != token:
                return socket.gethostname(), "sees another folder"
            job.settle()
        except OSError as error:
            return socket.gethostname(), f"does not see it ({error.strerror})"
        self._job = job
        return socket.gethostname(), ""

    def run(self, overrides: list[str]) -> None:
        """Run a trial; it leaves its result in its folder."""
        assert self._job is not None  # noqa: S101 - settled before it is given a trial
        self._job.run(overrides)


class RayPool:
    """The workers of one sweep, kept from batch to batch.

    Args:
        job: Job that runs a trial; sent to each worker once.
        folder: The sweep's folder, which all nodes must see.
        slots: Number of trials at a time.
        jobs_per_gpu: Trials that may share a GPU.
    """

    def __init__(self, job: HydraJob, folder: Path, slots: int, jobs_per_gpu: int) -> None:
        import ray

        self._ray: Any = ray
        self._job, self._slots, self._jobs_per_gpu = ray.put(job), slots, jobs_per_gpu
        self._root = job.root
        self._mark, self._token = folder.resolve() / _MARK, secrets.token_hex(16)
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, list[str]]] = {}
        self._false_starts = 0

    def run(self, jobs: Sequence[Sequence[str]]) -> None:
        """Run trials till each has ended, or its worker has died; a death stops no other.

        Args:
            jobs: Overrides of each job.

        Raises:
            FlywheelError: A node does not see the sweep's folder, or no worker starts.
            RuntimeError: Workers have died under their trials; in one line: how many, and the first one's why.
        """
        self._mark.write_text(self._token)
        waiting, lost = deque([list(job) for job in jobs]), list[str]()
        heard = time.monotonic()
        while waiting or self._busy:
            self._employ(min(self._slots, len(waiting) + len(self._busy)))
            while waiting and self._idle:
                worker, overrides = self._idle.pop(), waiting.popleft()
                self._busy[worker.run.remote(overrides)] = (worker, overrides)
            ready, _ = self._ray.wait([*self._busy, *self._starting], num_returns=1, timeout=_POLL_SECONDS)
            for found in ready:
                if found in self._busy:
                    lost.extend(self._hear(found))
                else:
                    self._welcome(found)
            if ready or self._busy:
                heard = time.monotonic()
            elif time.monotonic() - heard > _PATIENCE_SECONDS:
                log.warning("waiting for room on the Ray cluster: %d trials have no worker", len(waiting))
                heard = time.monotonic()
        if lost:
            raise RuntimeError(f"{len(lost)} workers died, {lost[0]}")

    def close(self) -> None:
        """End all workers."""
        for worker in [*self._idle, *self._starting.values(), *(worker for worker, _ in self._busy.values())]:
            self._ray.kill(worker)
        self._idle, self._starting, self._busy = [], {}, {}

    def _employ(self, wanted: int) -> None:
        """Start workers till there are as many as can be busy."""
        missing = wanted - len(self._idle) - len(self._starting) - len(self._busy)
        if missing <= 0:
            return
        part = cluster.share(cluster.nodes(), self._slots, self._jobs_per_gpu)
        paths = [str(Path(self._root) / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**threads_environment(part.threads), "PYTHONPATH": os.pathsep.join(paths)}
        made = self._ray.remote(TrialWorker).options(
            num_cpus=part.cpus,
            num_gpus=part.gpus,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": environment, **_interpreter()},
        )
        for _ in range(missing):
            worker = made.remote()
            self._starting[worker.settle.remote(self._job, str(self._mark), self._token)] = worker

    def _welcome(self, found: Any) -> None:
        """Take in a worker that has settled."""
        worker = self._starting.pop(found)
        try:
            machine, wrong = self._ray.get(found)
        except self._ray.exceptions.RayError as error:
            self._false_starts += 1
            if self._false_starts >= _MAX_FALSE_STARTS:
                fix = "see Ray's logs; all nodes need the same Python packages"
                raise FlywheelError(f"Ray's workers do not start: {_last_line(error)}", fix=fix) from None
            return
        if wrong:
            fix = "put the project on a file system that all nodes share, at the same path"
            raise ConfigError(f"the Ray node {machine} {wrong}", where=self._mark.parent, fix=fix)
        self._false_starts = 0
        self._idle.append(worker)

    def _hear(self, found: Any) -> list[str]:
        """Take a worker back from its trial; says why, where it has died."""
        worker, overrides = self._busy.pop(found)
        try:
            self._ray.get(found)
        except self._ray.exceptions.RayError as error:
            return [f"trial {trial_number(overrides)}: {_last_line(error)}"]
        self._idle.append(worker)
        return []


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:200]


def _interpreter() -> dict[str, str]:
    """Ray's option for this interpreter: it hands its path to a shell, where a space would end it."""
    quoted = shlex.quote(sys.executable)
    return {} if quoted == sys.executable else {"py_executable": quoted}

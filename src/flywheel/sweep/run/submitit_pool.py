"""Trials in jobs of Slurm, or of this machine, by submitit: jobs that stay from batch to batch, and may die alone."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flywheel.project.errors import ConfigError, FlywheelError
from flywheel.project.whole import whole_file
from flywheel.sweep.run.hydra_job import HydraJob, trial_number
from flywheel.sweep.run.slots import VISIBLE, visible_gpus
from flywheel.sweep.run.submitit_worker import ALIVE, STOP, Worker, owner
from flywheel.sweep.search.folder import read_if_there

log = logging.getLogger("flywheel")

FOLDER, JOBS = ".submitit", "jobs.json"
_POLL_SECONDS = 0.5
_END_SECONDS = 20.0
_ASK_SECONDS = 30.0
_MAX_FALSE_STARTS = 3
_MAX_TIMEOUTS = 1000  # a trial goes on from its last epoch, so a time limit is no reason to end it
_OF_ANY_EXECUTOR = (
    "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name", "stderr_to_stdout",
)  # fmt: skip
_OURS = ("submitit_folder", "max_num_timeout", "array_parallelism")


class SubmititPool:
    """The jobs of one sweep.

    Args:
        kind: `slurm`, or `local`: processes of this machine, for trying out.
        settings: Settings of the launcher, as in the packaged plugin.
        job: Job that runs a trial.
        folder: The sweep's folder, which all nodes must see.
        slots: Trials, and so jobs, at a time.
        max_attempts: Starts without a finished epoch, after which a job leaves a trial to the sweep.

    Raises:
        ConfigError: A setting is one that Slurm or submitit does not take.
    """

    def __init__(
        self, kind: str, settings: Mapping[str, Any], job: HydraJob, folder: Path, slots: int, max_attempts: int
    ) -> None:
        for key in ("nodes", "tasks_per_node"):
            if settings.get(key, 1) != 1:
                raise ConfigError("a trial is one process", where=f"hydra.launcher.{key}", fix="set it to 1")
        self._kind, self._slots = kind, slots
        self._executor = _executor(kind, settings, slots)
        self._logs = str(Path(settings["submitit_folder"]).expanduser().absolute())  # as submitit's processes have it
        self._home = folder.resolve() / FOLDER
        cancel_left(self._home)
        self._session = self._home / f"session-{secrets.token_hex(4)}"
        self._session.mkdir(parents=True)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = settings.get("cpus_per_task") or (max(1, cores // slots) if kind == "local" else None)
        if kind == "local" and (gpus := visible_gpus()[: settings.get("gpus_per_node")]):
            # Submitit hides GPUs from a local job, or gives all jobs the same: which has which is `claim_gpu`'s.
            job = replace(job, environment={**job.environment, VISIBLE: ",".join(gpus)})
        self._worker = Worker(job, str(self._session), threads, max_attempts)
        self._jobs: list[Any] = []
        self._round = self._false_starts = 0
        self._asked = time.monotonic()

    def run(self, jobs: Sequence[Sequence[str]]) -> None:
        """Run trials till each has ended, or its job has died; a death stops no other.

        Args:
            jobs: Overrides of each job.

        Raises:
            FlywheelError: No job comes to take a trial.
            RuntimeError: Jobs have died under their trials; in one line: how many, and the first one's state.
        """
        self._round += 1
        waiting, lost = [self._put(list(job)) for job in jobs], list[str]()
        while waiting := [one for one in waiting if one.exists()]:
            (self._session / ALIVE).touch()
            dead = self._bury(waiting)
            lost.extend(dead.values())
            waiting = [one for one in waiting if one not in dead]
            missing = min(self._slots, len(waiting)) - len(self._jobs)
            if missing > 0:
                self._submit(missing)
            time.sleep(_POLL_SECONDS)
        if lost:
            raise RuntimeError(f"{len(lost)} jobs died, {lost[0]}")

    def close(self) -> None:
        """End all jobs: those without a trial by themselves, others by force."""
        (self._session / STOP).touch()
        busy = any(owner(one) for one in self._session.glob("*.json"))
        deadline = time.monotonic() + (0 if busy else _END_SECONDS)
        while time.monotonic() < deadline and not all(one.done() for one in self._jobs):
            time.sleep(_POLL_SECONDS)
        self._jobs = []
        cancel_left(self._home)

    def _put(self, overrides: list[str]) -> Path:
        file = self._session / f"{self._round:05d}-{trial_number(overrides):05d}.json"
        with whole_file(file) as part:
            part.write_text(json.dumps(overrides))
        return file

    def _submit(self, count: int) -> None:
        with self._executor.batch():
            made = [self._executor.submit(self._worker) for _ in range(count)]
        self._jobs += made
        noted = read_if_there(self._home / JOBS) or {"jobs": []}
        ids = [*noted["jobs"], *(one.job_id for one in made)]
        with whole_file(self._home / JOBS) as part:
            part.write_text(json.dumps({"kind": self._kind, "folder": self._logs, "jobs": ids}) + "\n")

    def _bury(self, waiting: Sequence[Path]) -> dict[Path, str]:
        """Forget jobs that are no more; gives the trials that died with them, and in which state."""
        if self._kind == "slurm" and time.monotonic() - self._asked > _ASK_SECONDS:
            self._asked = time.monotonic()
            for one in self._jobs[:1]:
                one.watcher.update()  # of all jobs; by itself submitit asks Slurm every ten minutes
        gone = {one.job_id: one for one in self._jobs if one.done()}
        if not gone:
            return {}
        self._jobs = [one for one in self._jobs if one.job_id not in gone]
        dead = {one: name for one in waiting if one.exists() and (name := owner(one)) in gone}
        claimed = {owner(one.with_suffix(".json")) for one in self._session.glob("*.claim")}
        for name, job in gone.items():
            if name not in claimed:
                self._false_starts += 1
            if self._false_starts >= _MAX_FALSE_STARTS:
                raise FlywheelError(
                    f"jobs end before they take a trial ({job.state})", where=job.paths.stderr, fix="see that log"
                )
        return {one: f"trial {int(one.stem.partition('-')[2])}: {gone[name].state}" for one, name in dead.items()}


def cancel_left(home: Path) -> None:
    """Cancel the jobs that are noted in a sweep's folder, and wait till they are gone: its trials are to start anew.

    Args:
        home: The folder of submitit's own files.
    """
    noted = read_if_there(home / JOBS)
    if noted is None:
        return
    if noted["kind"] == "slurm":
        _cancel_slurm(noted["folder"], noted["jobs"])
    else:
        _end_processes(noted["folder"], [int(name) for name in noted["jobs"]])
    (home / JOBS).unlink()


def _cancel_slurm(folder: str, names: Sequence[str]) -> None:
    import submitit

    jobs: list[Any] = [submitit.SlurmJob(folder, name) for name in names]
    left = [one for one in jobs if not one.done(force_check=True)]
    for one in left:
        one.cancel(check=False)
    deadline = time.monotonic() + 3 * _END_SECONDS  # Slurm's own patience with a job that does not end is 30 s
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        left = [one for one in left if not one.done(force_check=True)]


def _end_processes(folder: str, pids: Sequence[int]) -> None:
    import psutil

    for pid in pids:
        try:
            watcher = psutil.Process(pid)
            # The number may be another process's by now.
            if folder not in watcher.cmdline():
                continue
            for one in [watcher, *watcher.children(recursive=True)]:
                one.kill()
            watcher.wait(_END_SECONDS)
        except (psutil.NoSuchProcess, psutil.TimeoutExpired):
            continue


def check_launcher(launcher: Mapping[str, Any]) -> None:
    """Refuse a launcher of Slurm jobs where there is no Slurm, before a sweep begins.

    Args:
        launcher: Hydra's settings of the launcher.

    Raises:
        ConfigError: Its commands are not there.
    """
    if str(launcher["_target_"]).endswith(".SlurmLauncher") and shutil.which("srun") is None:
        hint = "start the sweep on a machine of the cluster, or take hydra/launcher=joblib"
        raise ConfigError("Slurm is not installed here (there is no srun)", where="hydra/launcher", fix=hint)


def _executor(kind: str, settings: Mapping[str, Any], slots: int) -> Any:
    try:
        import submitit
    except ImportError:
        fix = "pip install 'flywheel[slurm]'"
        raise ConfigError("submitit is not installed", where="hydra/launcher", fix=fix) from None
    given = {key: value for key, value in settings.items() if value is not None and key not in _OURS}
    if kind == "slurm":
        given["array_parallelism"] = slots
    named = {key if key in _OF_ANY_EXECUTOR else f"{kind}_{key}": value for key, value in given.items()}
    limit = {f"{kind}_max_num_timeout": int(settings.get("max_num_timeout") or _MAX_TIMEOUTS)}
    try:
        made = submitit.AutoExecutor(cluster=kind, folder=settings["submitit_folder"], **limit)
        made.update_parameters(**named)
    except (TypeError, ValueError, NameError, RuntimeError) as error:
        what = f"{kind} does not take these settings: {(str(error).splitlines() or [''])[0][:200]}"
        raise ConfigError(what, where="hydra.launcher", fix="see docs/cluster.md") from None
    return made

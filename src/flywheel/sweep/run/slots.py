"""How many trials run at one time on a machine, and which GPU each may use."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from flywheel.project.errors import ConfigError
from flywheel.project.params import state_dir
from flywheel.sweep.search.settings import SweepConfig

log = logging.getLogger("flywheel")

VISIBLE = "CUDA_VISIBLE_DEVICES"
_WAIT_SECONDS = 0.5


def num_slots(config: SweepConfig, devices: Any = 1) -> int:
    """Trials at a time: as set, or one for each place on a GPU, or one a core; fewer where each takes several.

    Args:
        config: The sweep's settings.
        devices: The trials' `trainer.devices`.
    """
    if config.slots != "auto":
        return int(config.slots)
    gpus = visible_gpus()
    if gpus:
        return max(1, len(gpus) // num_gpus(devices)) * config.jobs_per_gpu
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // num_gpus(devices))


def num_gpus(devices: Any) -> int:
    """GPUs (or cores, where there is none) that a training with this `trainer.devices` takes."""
    if devices == "all":
        return max(1, len(visible_gpus()))
    return devices if isinstance(devices, int) and devices > 0 else 1


def visible_gpus() -> list[str]:
    """Ids of the NVIDIA GPUs that this process may use, without waking one."""
    if VISIBLE in os.environ:
        return [word.strip() for word in os.environ[VISIBLE].split(",") if word.strip() not in ("", "-1")]
    if not _has_driver():
        return []
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _has_driver() -> bool:
    """Whether there can be a GPU: without a driver there is none, and torch, slow to import, need not say so."""
    if sys.platform != "linux" or Path("/dev/kfd").exists():  # that is AMD's
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@contextlib.contextmanager
def claim_gpu(jobs_per_gpu: int, count: int = 1) -> Iterator[str | None]:
    """Hold places on GPUs that no more than `jobs_per_gpu` jobs of this machine use; waits while there are none.

    The job sees those GPUs alone. It gets all that it wants or none, so that two jobs never wait for each other. A
    killed job's places are free again at once: locks are the operating system's. A worker that has woken a GPU stays
    with it, because CUDA reads what is visible only once.

    Args:
        jobs_per_gpu: Number of jobs on each GPU.
        count: GPUs that the job wants.

    Returns:
        The GPUs' ids, as `CUDA_VISIBLE_DEVICES` has them; None where there is no GPU.

    Raises:
        ConfigError: The job wants more GPUs than there are.
    """
    mine = os.environ.get("FLYWHEEL_GPU")
    gpus = mine.split(",") if mine else visible_gpus()
    if not gpus:
        yield None
        return
    if count > len(gpus):
        what = f"{count} GPUs are wanted, and this job may use {len(gpus)}"
        raise ConfigError(what, where="trainer.devices", fix="use fewer, and one number in the whole sweep")
    waited = False
    while True:
        held = _places(gpus, jobs_per_gpu, count)
        if held:
            os.environ[VISIBLE] = os.environ["FLYWHEEL_GPU"] = ",".join(held)
            try:
                yield ",".join(held)
            finally:
                for lock in held.values():
                    lock.release()
            return
        if not waited:
            log.info("waiting for a GPU: %d jobs are on each", jobs_per_gpu)
            waited = True
        time.sleep(_WAIT_SECONDS)


def _places(gpus: list[str], jobs_per_gpu: int, count: int) -> dict[str, FileLock]:
    """Locks of `count` different GPUs, or none at all."""
    held: dict[str, FileLock] = {}
    for place in range(jobs_per_gpu):
        for gpu in gpus:
            if gpu not in held and len(held) < count and (lock := _lock(gpu, place)) is not None:
                held[gpu] = lock
    if len(held) == count:
        return {gpu: held[gpu] for gpu in gpus if gpu in held}
    for lock in held.values():
        lock.release()
    return {}


def _lock(gpu: str, place: int) -> FileLock | None:
    folder = state_dir() / "gpu"
    folder.mkdir(parents=True, exist_ok=True)
    # `.flywheel/` may be many machines', and Slurm may number the GPUs of each job from 0.
    words = [socket.gethostname(), os.environ.get("SLURM_JOB_ID", ""), gpu.replace("/", "_"), str(place), "lock"]
    lock = FileLock(folder / ".".join(filter(None, words)), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock

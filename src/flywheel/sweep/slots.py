"""How many trials run at one time on a machine, and which GPU each may use."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator

from filelock import FileLock, Timeout

from flywheel.params import state_dir
from flywheel.sweep.settings import SweepConfig

log = logging.getLogger("flywheel")

VISIBLE = "CUDA_VISIBLE_DEVICES"
_WAIT_SECONDS = 0.5


def num_slots(config: SweepConfig) -> int:
    """Trials at a time: as set, or one for each place on a GPU, or one a core."""
    if config.slots != "auto":
        return int(config.slots)
    gpus = visible_gpus()
    if gpus:
        return len(gpus) * config.jobs_per_gpu
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Ids of the NVIDIA GPUs that this process may use, without waking one."""
    if VISIBLE in os.environ:
        return [word.strip() for word in os.environ[VISIBLE].split(",") if word.strip() not in ("", "-1")]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


@contextlib.contextmanager
def claim_gpu(jobs_per_gpu: int) -> Iterator[str | None]:
    """Hold a place on a GPU that no more than `jobs_per_gpu` jobs of this machine use; waits while there is none.

    The job sees that GPU alone. A killed job's place is free again at once: locks are the operating system's. A worker
    that has woken a GPU stays with it, because CUDA reads what is visible only once.

    Returns:
        The GPU's id; None where there is no GPU.
    """
    mine = os.environ.get("FLYWHEEL_GPU")
    gpus = [mine] if mine else visible_gpus()
    if not gpus:
        yield None
        return
    waited = False
    while True:
        for place in range(jobs_per_gpu):
            for gpu in gpus:
                lock = _lock(gpu, place)
                if lock is not None:
                    os.environ[VISIBLE] = os.environ["FLYWHEEL_GPU"] = gpu
                    try:
                        yield gpu
                    finally:
                        lock.release()
                    return
        if not waited:
            log.info("waiting for a GPU: %d jobs are on each", jobs_per_gpu)
            waited = True
        time.sleep(_WAIT_SECONDS)


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

"""The Ray cluster that a sweep runs on: how many trials it has room for, and what each gets of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.project import ray_cluster
from flywheel.project.errors import ConfigError
from flywheel.project.ray_cluster import Asker

ASKER = Asker("hydra/launcher", "hydra.launcher.address", "use hydra/launcher=joblib")
STORE_BYTES = 100 * 2**20
"""Trials leave their results in files; only settings go through Ray's store."""


@dataclass(frozen=True)
class ClusterShare:
    """What one trial asks Ray for.

    Attributes:
        cpus: The CPUs of one node for one trial; below 1 where more trials are wanted than there are CPUs.
        gpus: Share of a GPU, or 0.
    """

    cpus: float
    gpus: float

    @property
    def threads(self) -> int:
        """CPU threads of a trial."""
        return max(1, int(self.cpus))


def connect(address: str | None) -> None:
    """Join a cluster, or start one of this machine alone; does nothing where this process is in one.

    Args:
        address: Address for `ray.init` (`auto`, `host:6379`, `ray://host:10001`); None: start a cluster.

    Raises:
        ConfigError: Ray is not installed, no cluster answers at the address, or none can be started.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    options = {"num_cpus": cores} if address is None else {}
    ray_cluster.connect(address, ASKER, store_bytes=STORE_BYTES, configure_logging=False, **options)


def nodes() -> list[tuple[int, int]]:
    """CPUs and GPUs of each node that is alive."""
    import ray

    known: Any = ray
    found = [node["Resources"] for node in known.nodes() if node["Alive"]]
    return [(int(one.get("CPU", 0)), int(one.get("GPU", 0))) for one in found]


def num_places(there: Sequence[tuple[int, int]], jobs_per_gpu: int) -> int:
    """Default number of trials at a time: one for each place on a GPU, or else one a CPU.

    Args:
        there: CPUs and GPUs of each node.
        jobs_per_gpu: Trials that may share a GPU.
    """
    gpus = sum(gpus for _, gpus in there)
    return max(1, gpus * jobs_per_gpu if gpus else sum(cpus for cpus, _ in there))


def share(there: Sequence[tuple[int, int]], slots: int, jobs_per_gpu: int) -> ClusterShare:
    """Divide a cluster: the most CPUs that each of `slots` trials can have, and its part of a GPU.

    Args:
        there: CPUs and GPUs of each node.
        slots: Number of trials at a time.
        jobs_per_gpu: Trials that may share a GPU.

    Raises:
        ConfigError: No node has a CPU.
    """
    most = max((cpus for cpus, _ in there), default=0)
    if most < 1:
        raise ConfigError("the Ray cluster has no CPUs", where="hydra.launcher.address", fix="add a node to it")
    gpus = 1 / jobs_per_gpu if any(gpus for _, gpus in there) else 0.0
    places = sum(gpus for _, gpus in there) * jobs_per_gpu
    slots = min(slots, places) if gpus else slots
    for cpus in range(most, 0, -1):
        if _fits(there, float(cpus), jobs_per_gpu if gpus else 0) >= slots:
            return ClusterShare(float(cpus), gpus)
    parts = (n for n in range(2, slots + 1) if _fits(there, 1 / n, jobs_per_gpu if gpus else 0) >= slots)
    return ClusterShare(round(1 / next(parts, slots), 4), gpus)


def _fits(there: Sequence[tuple[int, int]], cpus: float, jobs_per_gpu: int) -> int:
    """Number of trials with this many CPUs that fit at a time."""
    rooms = [(int(node_cpus / cpus + 1e-9), node_gpus * jobs_per_gpu) for node_cpus, node_gpus in there]
    return sum(min(room, places) if jobs_per_gpu else room for room, places in rooms)

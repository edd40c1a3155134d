"""The Ray cluster that a sweep runs on: joined, or started on this machine, and how many trials it has room for."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.errors import ConfigError

log = logging.getLogger("flywheel")

_PATIENCE_SECONDS = 10.0
_OBJECT_STORE_BYTES = 100 * 2**20  # trials leave their results in files; only settings go through the store
_EVERYWHERE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without a GPU keeps what it sees; unset, Ray warns
}
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # Ray's word for: listen on 127.0.0.1 alone
_own_folders: list[str] = []  # of the cluster that this process started


@dataclass(frozen=True)
class Share:
    """What one trial asks Ray for.

    Attributes:
        cpus: Of one node; below 1 where more trials are wanted than there are CPUs.
        gpus: Part of a GPU, or 0.
    """

    cpus: float
    gpus: float

    @property
    def threads(self) -> int:
        """CPU threads of a trial."""
        return max(1, int(self.cpus))


def connect(address: str | None) -> None:
    """Join a cluster, or start one of this machine alone; does nothing where this process is in one.

    A cluster of our own listens on 127.0.0.1 only, wants a secret that no other process knows, and dies with this
    process.

    Args:
        address: As `ray.init` takes it (`auto`, `host:6379`, `ray://host:10001`); None: start one.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers at the address.
    """
    # Ray reads its environment when it is imported.
    alone = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), **_LOOPBACK} if address is None else {}
    for key, value in (_EVERYWHERE | alone).items():
        os.environ.setdefault(key, value)
    ray = _ray()
    if ray.is_initialized():
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    if address is None:
        _start(ray, options)
        return
    try:
        _must_listen(address)
        ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        what = f"no Ray cluster answers at {address}: {(str(error).splitlines() or [''])[0][:200]}"
        mend = "start one with `ray start --head`, or leave the address out to use this machine alone"
        raise ConfigError(what, where="hydra.launcher.address", mend=mend) from None


def _must_listen(address: str) -> None:
    """Find out in seconds that nothing listens at `host:port`; Ray tries for ten minutes.

    Raises:
        OSError: Nothing does.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_SECONDS).close()


def _start(ray: Any, options: dict[str, Any]) -> None:
    folder = tempfile.mkdtemp(prefix="flywheel-ray-")  # short: Ray's sockets lie in it, whose paths have a limit
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        ray.init(
            address="local",
            num_cpus=cores,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            _temp_dir=folder,
            **options,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        what = f"Ray does not start: {(str(error).splitlines() or [''])[0][:200]}"
        raise ConfigError(what, where="hydra/launcher", mend="free memory, or use hydra/launcher=joblib") from None
    _own_folders.append(folder)


def disconnect() -> None:
    """Leave the cluster; one that `connect` started ends."""
    _ray().shutdown()
    while _own_folders:
        shutil.rmtree(_own_folders.pop(), ignore_errors=True)


def nodes() -> list[tuple[int, int]]:
    """CPUs and GPUs of each node that is alive."""
    found = [node["Resources"] for node in _ray().nodes() if node["Alive"]]
    return [(int(one.get("CPU", 0)), int(one.get("GPU", 0))) for one in found]


def num_places(there: Sequence[tuple[int, int]], jobs_per_gpu: int) -> int:
    """Trials at a time where nobody says how many: one for each place on a GPU, or else one a CPU.

    Args:
        there: CPUs and GPUs of each node.
        jobs_per_gpu: Trials that may share a GPU.
    """
    gpus = sum(gpus for _, gpus in there)
    return max(1, gpus * jobs_per_gpu if gpus else sum(cpus for cpus, _ in there))


def share(there: Sequence[tuple[int, int]], slots: int, jobs_per_gpu: int) -> Share:
    """Divide a cluster: the most CPUs that each of `slots` trials can have, and its part of a GPU.

    Args:
        there: CPUs and GPUs of each node.
        slots: Trials at a time.
        jobs_per_gpu: Trials that may share a GPU.

    Raises:
        ConfigError: No node has a CPU.
    """
    most = max((cpus for cpus, _ in there), default=0)
    if most < 1:
        raise ConfigError("the Ray cluster has no CPUs", where="hydra.launcher.address", mend="add a node to it")
    gpus = 1 / jobs_per_gpu if any(gpus for _, gpus in there) else 0.0
    places = sum(gpus for _, gpus in there) * jobs_per_gpu
    slots = min(slots, places) if gpus else slots
    for cpus in range(most, 0, -1):
        if _fits(there, float(cpus), jobs_per_gpu if gpus else 0) >= slots:
            return Share(float(cpus), gpus)
    parts = (n for n in range(2, slots + 1) if _fits(there, 1 / n, jobs_per_gpu if gpus else 0) >= slots)
    return Share(round(1 / next(parts, slots), 4), gpus)


def _fits(there: Sequence[tuple[int, int]], cpus: float, jobs_per_gpu: int) -> int:
    """Trials of so many CPUs that fit at a time."""
    rooms = [(int(node_cpus / cpus + 1e-9), node_gpus * jobs_per_gpu) for node_cpus, node_gpus in there]
    return sum(min(room, places) if jobs_per_gpu else room for room, places in rooms)


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        mend = "pip install 'flywheel[ray]'"
        raise ConfigError("Ray is not installed", where="hydra/launcher", mend=mend) from None
    return ray

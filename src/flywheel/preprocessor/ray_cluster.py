"""Connects to a Ray cluster, or starts one on this machine that nobody else can reach and that ends with its use."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flywheel.errors import ConfigError
from flywheel.stage import is_alive

WHERE = "preprocess.engine"
MEND = "start it with `ray start --head`, mend preprocess.ray_address or RAY_ADDRESS, or set preprocess.engine: local"
CONNECT_SECONDS = 10
PREFIX, MAX_TEMPORARY = "fw-ray-", 15
STORE_BYTES = 1 << 30
"""Shared memory of a cluster of our own, at most; chunks on their way lie there."""

SILENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
OWN = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_ROTATION_MAX_BYTES": "100000000",
    "RAY_ROTATION_BACKUP_COUNT": "1",
}
"""Of a cluster of our own. The first is Ray's switch that keeps all its servers on 127.0.0.1, whatever its name says.
With the others logs end somewhere, and a worker does not fail when its log is cleared away, which it else measures."""


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Be connected to a cluster within the block; one that was started for it ends with it, and leaves no file.

    Where this process is connected already (a job of a sweep on Ray), that cluster is used and stays.

    Args:
        address: `host:6379` or `auto`; None: what `RAY_ADDRESS` says, or else a cluster on this machine.

    Raises:
        ConfigError: Ray is not installed, or the cluster cannot be reached.
    """
    given = address or os.environ.get("RAY_ADDRESS") or "local"
    set_up(own=given == "local")
    try:
        import ray
        import ray.data
    except ImportError as error:
        mend = "pip install 'flywheel[ray]', or set preprocess.engine: local"
        raise ConfigError(f"Ray is not installed ({error})", where=WHERE, mend=mend) from None
    if ray.is_initialized():
        yield
        return
    with _own_cluster() if given == "local" else _cluster_at(given):
        yield


def set_up(*, own: bool) -> None:
    """Set what Ray reads from the environment when it is imported; what the user has set stays.

    Args:
        own: Whether the cluster will be one of our own: then nobody else can reach it, neither from other machines nor,
            without the token, from this one.
    """
    wanted = dict(SILENT)
    if own and "ray" not in sys.modules:
        wanted |= OWN
        if "RAY_AUTH_MODE" not in os.environ:
            wanted |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def _own_cluster() -> Iterator[None]:
    """A cluster on 127.0.0.1, for this process alone."""
    import ray

    folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_cleared(_short_temporary()))
    try:
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
                 object_store_memory=STORE_BYTES, _temp_dir=folder)  # fmt: skip
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _short_temporary() -> Path:
    """Where temporary files go, if Ray's sockets can lie there: of the 103 bytes of a path 88 are Ray's."""
    place = Path(tempfile.gettempdir())
    return place if len(str(place)) <= MAX_TEMPORARY else Path("/tmp")  # noqa: S108 - mkdtemp makes a folder of our own


def _cleared(place: Path) -> Path:
    """Remove what killed processes left; Ray's own watchdog has ended their clusters."""
    for left in place.glob(f"{PREFIX}*-*"):
        pid = left.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not is_alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    return place


@contextlib.contextmanager
def _cluster_at(address: str) -> Iterator[None]:
    """A cluster that others have started."""
    import ray

    _check_reachable(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        what = f"the Ray cluster at {address} cannot be used: {' '.join(str(error).split())}"
        raise ConfigError(what, where=WHERE, mend=MEND) from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Refuse an address that nobody answers at: Ray itself would wait for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "/" in host or not port.isdigit():
        what = f"'{address}' is no address of a Ray cluster"
        raise ConfigError(what, where=WHERE, mend="write host:6379, or auto for the one on this machine")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ConfigError(f"no Ray cluster answers at {address} ({error})", where=WHERE, mend=MEND) from None

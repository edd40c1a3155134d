"""Ray: a cluster that others have started is joined; one of our own nobody else can reach, and it ends with its use.

Sweeps and the preprocess stage both run on it; what each asks of it is theirs.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.project.errors import ConfigError
from flywheel.project.whole import is_alive

CONNECT_SECONDS = 10
PREFIX, MAX_TEMPORARY = "fw-ray-", 15
SILENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without a GPU keeps what it sees; unset, Ray warns
}
OWN = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_ROTATION_MAX_BYTES": "100000000",
    "RAY_ROTATION_BACKUP_COUNT": "1",
}
"""Of a cluster of our own. The first is Ray's switch that keeps all its servers on 127.0.0.1, whatever its name says.
With the others logs end somewhere, and a worker does not fail when its log is cleared away, which it else measures."""
QUIET = {"log_to_driver": False, "logging_level": logging.ERROR}
_own_folders: list[str] = []  # of the cluster that this process started


@dataclass(frozen=True)
class Asker:
    """Who wants a cluster, for messages.

    Attributes:
        where: The setting that asks for Ray.
        address: The setting that holds its address.
        instead: What to do without Ray, for messages.
        modules: Modules of Ray to import.
    """

    where: str
    address: str
    instead: str
    modules: tuple[str, ...] = ("ray",)

    @property
    def fix(self) -> str:
        """What to do where no cluster answers."""
        return f"start one with `ray start --head`, fix {self.address}, or {self.instead}"


def connect(address: str | None, asker: Asker, *, store_bytes: int, **options: Any) -> None:
    """Join a cluster, or start one of this machine alone; does nothing where this process is in one.

    A cluster of our own listens on 127.0.0.1 only, wants a secret that no other process knows, and dies with this
    process.

    Args:
        address: Address for `ray.init` (`auto`, `host:6379`, `ray://host:10001`); None: start a cluster.
        asker: The caller's settings and advice, for messages.
        store_bytes: Shared memory of a cluster of our own, at most.
        **options: Options of `ray.init`.

    Raises:
        ConfigError: Ray is not installed, no cluster answers at the address, or none can be started.
    """
    set_up(own=address is None)
    try:
        for name in asker.modules:
            importlib.import_module(name)
        import ray
    except ImportError as error:
        fix = f"pip install 'flywheel[ray]', or {asker.instead}"
        raise ConfigError(f"Ray is not installed ({error})", where=asker.where, fix=fix) from None
    if ray.is_initialized():
        return
    if address is None:
        _start(ray, asker, store_bytes, options)
    else:
        _join(ray, address, asker, options)


def disconnect() -> None:
    """Leave the cluster; one that `connect` started ends, and leaves no file."""
    import ray

    ray.shutdown()
    while _own_folders:
        shutil.rmtree(_own_folders.pop(), ignore_errors=True)


@contextlib.contextmanager
def connected(address: str | None, asker: Asker, *, store_bytes: int) -> Iterator[None]:
    """Be connected within the block, as `connect` does; where this process is in a cluster already, it stays there.

    Raises:
        ConfigError: As `connect` does.
    """
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        yield
        return
    connect(address, asker, store_bytes=store_bytes)
    try:
        yield
    finally:
        disconnect()


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


def _start(ray: Any, asker: Asker, store_bytes: int, options: dict[str, Any]) -> None:
    folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_cleared(_short_temporary()))
    _own_folders.append(folder)
    try:
        ray.init(
            address="local", include_dashboard=False, object_store_memory=store_bytes, _temp_dir=folder,
            **{**QUIET, **options},
        )  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        disconnect()
        what = f"Ray does not start: {(str(error).splitlines() or [''])[0][:200]}"
        raise ConfigError(what, where=asker.where, fix=f"free memory, or {asker.instead}") from None
    except BaseException:  # Ctrl+C while it starts
        disconnect()
        raise


def _join(ray: Any, address: str, asker: Asker, options: dict[str, Any]) -> None:
    try:
        _must_listen(address)
        ray.init(address=address, **{**QUIET, **options})
    except (OSError, RuntimeError, ValueError) as error:
        what = f"no Ray cluster answers at {address}: {(str(error).splitlines() or [''])[0][:200]}"
        raise ConfigError(what, where=asker.address, fix=asker.fix) from None


def _must_listen(address: str) -> None:
    """Find out in seconds that nothing listens at `host:port`; Ray tries for ten minutes.

    Raises:
        OSError: Nothing does.
        ValueError: It is not an address.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise ValueError("is not an address: write host:6379, or auto for the one on this machine")
    socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


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

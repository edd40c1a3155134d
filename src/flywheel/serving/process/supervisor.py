"""The parent of the workers: opens the socket, asks for champions, starts workers and replaces those that die."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from prometheus_client.multiprocess import mark_process_dead

from flywheel.project.errors import ConfigError
from flywheel.serving.http.access import check_address
from flywheel.serving.http.metrics import VARIABLE
from flywheel.serving.process.worker import READY, Start, champions_line
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.served import ChampionVersion

log = logging.getLogger("flywheel")

TICK_SECONDS = 0.1
BACKLOG = 2048
FOLDER = "flywheel-serve-"
"""Begins the name of the folder, among the temporary ones, that the workers' metrics are in."""
MAX_FAILED_STARTS = 3
KILL_AFTER_SECONDS = 5.0


class ChampionSource(Protocol):
    """Where champions come from."""

    def first(self) -> list[ChampionVersion]:
        """Those to begin with."""

    def changed(self) -> list[ChampionVersion] | None:
        """All of them, if one has changed."""


class Supervisor:
    """Runs a server.

    Args:
        settings: The settings of the server.
        champions: Champions to serve.
        command: Starts a worker, which calls `run_worker`.
        tokens: sha256 of each token by its client's name.
        say: Told, in a line, what a person wants to know.
    """

    def __init__(
        self,
        settings: ServingSettings,
        champions: ChampionSource,
        command: Sequence[str],
        tokens: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._source, self._command = settings, champions, list(command)
        self._tokens, self._say = dict(tokens), say
        self._stop = threading.Event()
        self._workers: list[_Worker] = []
        self._champions: list[ChampionVersion] = []
        self._failed_starts = 0

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then let the workers end what they have begun.

        Raises:
            ConfigError: Others could ask and there are no tokens, the port is taken, or workers cannot start.
            FlywheelError: What is to be served cannot be.
        """
        check_address(self._settings.host, self._tokens)
        self._champions = self._source.first()
        remove_left_folders()
        folder, held = _own_folder()
        before = {name: signal.signal(name, self._stopped) for name in (signal.SIGTERM, signal.SIGINT)}
        try:
            with contextlib.closing(self._listening()) as listener:
                self._serve(listener, folder)
        finally:
            self._end()
            for name, handler in before.items():
                signal.signal(name, handler)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)

    def _stopped(self, *_: object) -> None:
        self._stop.set()

    def _listening(self) -> socket.socket:
        host, port = self._settings.host, self._settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            fix = "give another --port, or stop what listens there"
            raise ConfigError(f"cannot listen: {error.strerror or error}", where=f"{host}:{port}", fix=fix) from None
        listener.set_inheritable(True)
        return listener

    def _serve(self, listener: socket.socket, folder: Path) -> None:
        for _ in range(self._settings.workers):
            self._workers.append(self._started(listener, folder))
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        address = f"http://{host}:{listener.getsockname()[1]}"
        announced, asked = False, time.monotonic()
        while not self._stop.wait(TICK_SECONDS):
            if not announced and all(worker.is_ready() for worker in self._workers):
                names = ", ".join(map(str, self._champions))
                self._say(f"{address} serves {names} with {len(self._workers)} workers (Ctrl+C stops it)")
                announced = True
            self._replace_dead(listener, folder)
            if time.monotonic() - asked >= self._settings.poll_seconds:
                self._follow()
                asked = time.monotonic()

    def _follow(self) -> None:
        champions = self._source.changed()
        if champions is not None:
            self._champions = champions
            for worker in self._workers:
                worker.tell(champions_line(champions))

    def _replace_dead(self, listener: socket.socket, folder: Path) -> None:
        for place, worker in enumerate(self._workers):
            code = worker.process.poll()
            if code is None:
                continue
            self._failed_starts = 0 if worker.is_ready() else self._failed_starts + 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                what = f"workers cannot start (exit code {code})"
                raise ConfigError(what, where="serve", fix="see what they said above")
            log.warning("worker %d has ended (exit code %d); starting another", worker.process.pid, code)
            worker.close()
            mark_process_dead(worker.process.pid, str(folder))  # type: ignore[no-untyped-call]
            self._workers[place] = self._started(listener, folder)

    def _started(self, listener: socket.socket, folder: Path) -> _Worker:
        number = listener.fileno()
        environment = {**os.environ, VARIABLE: str(folder)}
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment.setdefault(name, str(self._settings.threads))
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            pass_fds=[number],
        )  # fmt: skip
        worker = _Worker(process)
        worker.tell(Start(self._settings, number, self._tokens, self._champions).to_line())
        return worker

    def _end(self) -> None:
        """Stop the workers: gently, and those that do not stop by force."""
        for worker in self._workers:
            worker.process.terminate()
        end = time.monotonic() + self._settings.drain_seconds + KILL_AFTER_SECONDS
        for worker in self._workers:
            try:
                worker.process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.close()


def remove_left_folders() -> None:
    """Remove the metrics of servers that were killed: nobody else does. A server that runs holds its folder locked."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with contextlib.suppress(OSError):  # another user's, no folder, gone meanwhile, or held
            number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(number).st_uid == os.getuid():
                    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
            finally:
                os.close(number)


def _own_folder() -> tuple[Path, int]:
    """Make the folder of the workers' metrics, and hold it locked; the kernel lets go however the process ends."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        try:
            number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # another server that has just started took it for one that was left
        fcntl.flock(number, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder, number
        os.close(number)


class _Worker:
    """A worker's process, and what it has said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._ready = False
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)

    def tell(self, line: str) -> None:
        """Write to the worker; one that has just died is replaced soon, and gets the line then."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(line)
                self.process.stdin.flush()

    def is_ready(self) -> bool:
        """Whether it has said that it takes requests."""
        if not self._ready and self.process.stdout is not None:
            with contextlib.suppress(BlockingIOError, TypeError):  # TypeError: nothing to read yet, as text
                self._ready = READY in self.process.stdout.read()
        return self._ready

    def close(self) -> None:
        """Let go of its pipes."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

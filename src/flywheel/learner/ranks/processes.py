"""The other ranks of a training, as rank 0 has them: started, told what to train, watched, and ended.

Where torchrun or Slurm has started the ranks, they come to a meeting that lasts as long as rank 0's process, however
many trainings it does. Else rank 0 starts them for one training, as `python -m flywheel.learner.ranks.rank`, and they
end with it. Either way they get a training's settings from rank 0 as JSON: only rank 0 reads the configuration.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # made in C++

import flywheel
from flywheel.learner.machine import Machine, num_devices
from flywheel.learner.ranks.ranks import Ranks
from flywheel.learner.ranks.world import PARENT, Place, place_from, without_place
from flywheel.project.config import TrainerConfig
from flywheel.project.errors import RankError
from flywheel.project.types import Json

_COMING_SECONDS = 600.0  # imports from a slow shared disk, and a queue that starts nodes one after another
_LEAVING_SECONDS = 60.0  # a rank whose imports are slow may come when all is over
_NOTICING_SECONDS = 5.0
_POLL_SECONDS = 0.1
_FOREVER = timedelta(days=30)

LOST = 3
"""The exit code of a rank that has lost the others."""


class Meeting:
    """The place where ranks find each other: a key-value store that rank 0, or torchrun's agent, holds.

    Args:
        place: The rank of this process, and how many ranks there are.
        listener: A socket that listens already; None: as `place` says.

    Raises:
        RankError: Nobody answers there, or the port is taken.
    """

    def __init__(self, place: Place, listener: socket.socket | None = None) -> None:
        self.place = place
        self.number = 0
        leads = place.rank == 0 and not place.hosted
        try:
            store = TCPStore(
                place.address,
                place.port,
                is_master=leads,
                timeout=timedelta(seconds=_COMING_SECONDS),
                wait_for_workers=False,
                master_listen_fd=listener.detach() if listener else None,
            )
        except (RuntimeError, ValueError) as error:
            why = str(error).splitlines()[0]
            raise RankError(
                why, where=f"{place.address}:{place.port}", fix="check MASTER_ADDR and MASTER_PORT"
            ) from None
        self._store = PrefixStore(f"flywheel/{place.attempt}", store)

    def tell(self, job: Json | None) -> None:
        """Say what is trained next; None: nothing more."""
        self._store.set(f"job/{self.number}", json.dumps(job))

    def hear(self) -> Json | None:
        """Wait for what is trained next."""
        self._store.wait([f"job/{self.number}"], _FOREVER)
        job: Json | None = json.loads(self._store.get(f"job/{self.number}"))
        return job

    def sign(self) -> None:
        """Say that this rank has heard and is ready."""
        self._store.set(f"ready/{self.number}/{self.place.rank}", "")

    def missing(self) -> list[int]:
        """Ranks that have not signed yet, but rank 0."""
        return [r for r in range(1, self.place.size) if not self._store.check([f"ready/{self.number}/{r}"])]

    def group_store(self) -> Store:
        """A store for one process group; the next one is the next training's."""
        self.number += 1
        return PrefixStore(f"group/{self.number}", self._store)


class RankProcesses:
    """The processes of the other ranks.

    Args:
        meeting: Connections to the other ranks.
        children: Processes that were started here, by rank.
        logs: Folder of their logs, `rank-<rank>.log`.
    """

    def __init__(self, meeting: Meeting, children: dict[int, subprocess.Popen[bytes]], logs: Path) -> None:
        self.place = meeting.place
        self._meeting, self._children, self._logs = meeting, children, logs
        self._failed: tuple[int, int] | None = None
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="flywheel ranks")
        if children:
            self._watcher.start()

    def begin(self, job: Json, machine: Machine) -> Ranks:
        """Tell the others what to train, and connect to them when all are ready.

        Raises:
            RankError: One has ended, or does not come.
        """
        self._meeting.tell(job)
        until = time.monotonic() + _COMING_SECONDS
        while missing := self._meeting.missing():
            if self._failed:
                raise self._failure()
            if time.monotonic() > until:
                named = ", ".join(map(str, missing))
                raise RankError(f"rank {named} did not connect within {_COMING_SECONDS:.0f} s", fix="see its output")
            time.sleep(_POLL_SECONDS)
        return Ranks(self.place, machine, self._meeting.group_store())

    def explained(self, error: BaseException) -> RankError | None:
        """Say which rank's end is behind a broken connection; None where the error is of another kind."""
        if not is_broken(error):
            return None
        until = time.monotonic() + _NOTICING_SECONDS
        while self._children and not self._failed and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        return self._failure()

    def close(self, *, well: bool) -> None:
        """End the ranks that were started here: those of a good training by themselves, others at once."""
        self._closing.set()
        if not self._children:
            return
        self._watcher.join()
        if well:
            self._meeting.tell(None)
            until = time.monotonic() + _LEAVING_SECONDS
            for child in self._children.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.0, until - time.monotonic()))
        self._end_all()
        if well:
            for rank in self._children:
                _log_of(self._logs, rank).unlink(missing_ok=True)

    def _watch(self) -> None:
        """Notice a rank that ends too early, and end the others: they may wait for it for ever."""
        while not self._closing.wait(_POLL_SECONDS):
            codes = {rank: child.poll() for rank, child in self._children.items()}
            ended = [(rank, code) for rank, code in codes.items() if code]
            if ended:
                # The one that was killed, or whose error is its own, comes before those that only lost it.
                self._failed = min(ended, key=lambda found: (found[1] == LOST, found[1] > 0, found[0]))
                self._end_all()
                if dist.is_initialized() and dist.get_backend() == "nccl" and dist.group.WORLD is not None:
                    dist.group.WORLD.abort()  # NCCL waits for a dead rank; Gloo sees its connection close
                return

    def _end_all(self) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.kill()
            child.wait()

    def _failure(self) -> RankError:
        if self._failed is None:
            what = "the connection to another rank broke" if not self._children else "a rank no longer answers"
            return RankError(
                what, fix="see the output of the other ranks; the same command goes on from the last epoch"
            )
        rank, code = self._failed
        log = _log_of(self._logs, rank)
        if code < 0:
            what = f"rank {rank} was ended by {signal.Signals(-code).name}"
            return RankError(what, where=log, fix="the same command goes on from the last epoch")
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.is_file() else []
        said = lines[-1].removeprefix("flywheel: error: ")[:300] if lines else f"exit code {code}"
        return RankError(f"rank {rank} failed: {said}", where=log)


@contextlib.contextmanager
def rank_processes(config: TrainerConfig, logs: Path) -> Iterator[RankProcesses | None]:
    """Have the other ranks for one training; None where this process trains alone.

    Args:
        config: Its `devices` say how many ranks are started where none have been.
        logs: A folder for the logs of those that are started; they are removed when all went well.

    Raises:
        RankError: A rank ended, or broke the connection.
    """
    place = place_from()
    if place is None and num_devices(config) == 1:
        yield None
        return
    others = RankProcesses(_led(place), {}, logs) if place else _started(num_devices(config), logs)
    well = False
    try:
        yield others
        well = True
    except RuntimeError as error:
        found = others.explained(error)
        if found is None:
            raise
        raise found from error
    finally:
        others.close(well=well)


@contextlib.contextmanager
def leading(place: Place) -> Iterator[None]:
    """Meet the ranks that torchrun or Slurm has started, and send them home at the end, whatever it is."""
    meeting = _led(place)
    try:
        yield
    finally:
        meeting.tell(None)
        until = time.monotonic() + _LEAVING_SECONDS
        while meeting.missing() and time.monotonic() < until:  # the store must outlive their last question
            time.sleep(_POLL_SECONDS)


_meetings: dict[Place, Meeting] = {}


def _led(place: Place) -> Meeting:
    if place.rank:
        raise RankError(f"rank {place.rank} cannot lead a training", fix="start it by python -m flywheel.train")
    if place not in _meetings:
        _meetings[place] = Meeting(place)
    return _meetings[place]


def _started(size: int, logs: Path) -> RankProcesses:
    """Start the other ranks on this machine; their port cannot be reached from outside it."""
    listener = socket.create_server(("127.0.0.1", 0))
    place = Place(0, size, 0, size, "127.0.0.1", listener.getsockname()[1])
    meeting = Meeting(place, listener)
    code = str(Path(flywheel.__file__).resolve().parents[1])
    inherited = {**without_place(os.environ), PARENT: str(os.getpid())}
    inherited["PYTHONPATH"] = os.pathsep.join([code, *filter(None, [os.environ.get("PYTHONPATH")])])
    logs.mkdir(parents=True, exist_ok=True)
    children = {}
    for rank in range(1, size):
        own = Place(rank, size, rank, size, place.address, place.port)
        with _log_of(logs, rank).open("wb") as log:
            children[rank] = subprocess.Popen(
                [sys.executable, "-m", "flywheel.learner.ranks.rank"],
                env={**inherited, **own.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl+C is rank 0's to answer
            )
    return RankProcesses(meeting, children, logs)


def is_broken(error: BaseException) -> bool:
    """Whether an error says that another rank cannot be reached any more."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


def _log_of(logs: Path, rank: int) -> Path:
    return logs / f"rank-{rank}.log"

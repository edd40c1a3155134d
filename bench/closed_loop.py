"""The loop closed, as a person would see it: a server, traffic, a change, feedback, a retraining, a swap.

Everything goes through the doors that users have: the server's HTTP, and the command line. `bench/bench_loop.py` runs
it on default tasks, `tests/test_closed_loop.py` on small ones.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

Row = dict[str, Any]
CLIENTS = tuple(f"client-{number}" for number in range(8))
BATCH_ROWS = 50
PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Traffic:
    """What is sent.

    Attributes:
        clean: Rows as the model knows them.
        changed: Rows that have changed, with their right answers: people correct the model on these.
        measured: Other rows that have changed in the same way; nobody says anything about them.
    """

    clean: Sequence[tuple[Row, str]]
    changed: Sequence[tuple[Row, str]]
    measured: Sequence[tuple[Row, str]]


@dataclass(frozen=True)
class Closed:
    """What was seen.

    Attributes:
        calm: Exit code of `flywheel monitor` on clean traffic.
        alarmed: The same on changed traffic.
        said: What it said then.
        turn: What `flywheel loop --once` said.
        before: Accuracy on the measured rows by version 1.
        after: By the version that the server swapped to.
        decision: The gate's.
        versions: Those that answered while the loop ran, in order.
        num_requests: Sent while the loop ran.
        failures: Requests of those that were not answered with 200.
    """

    calm: int
    alarmed: int
    said: str
    turn: str
    before: float
    after: float
    decision: dict[str, Any]
    versions: list[int]
    num_requests: int
    failures: list[str]


def close_the_loop(folder: Path, task: str, traffic: Traffic) -> Closed:
    """Serve a task that is built and registered in a project, and let its world change.

    Args:
        folder: The project.
        task: Whose champion is version 1.
        traffic: What is sent.
    """
    tokens = folder / "tokens.txt"
    tokens.write_text("".join(f"{name} token-of-{name}\n" for name in CLIENTS))
    with _server(folder, task, tokens) as url, httpx.Client(base_url=url, timeout=60) as client:
        door = Door(client, task)
        door.ask([row for row, _ in traffic.clean])
        calm = _flywheel(folder, "monitor", task, "--last", str(len(traffic.clean)))
        before, version = door.accuracy(traffic.measured)
        assert version == 1
        door.correct(traffic.changed)
        alarmed = _flywheel(folder, "monitor", task, "--last", str(len(traffic.changed)))
        with _steady(url, task, traffic.clean[0][0]) as steady:
            turn = _flywheel(folder, "loop", task, "--once")
            decision = json.loads((folder / "artifacts" / task / "decision.json").read_text())
            if decision["promoted"]:
                door.wait_for(2, traffic.clean[0][0])
                steady.go_on()
        after, _ = door.accuracy(traffic.measured)
    return Closed(
        calm.returncode, alarmed.returncode, alarmed.stdout + alarmed.stderr, turn.stdout + turn.stderr, before, after,
        decision, steady.versions, steady.num_requests, steady.failures,
    )  # fmt: skip


class Door:
    """The server, as clients use it."""

    def __init__(self, client: httpx.Client, task: str) -> None:
        self._client, self._path = client, f"/v1/tasks/{task}/predict"
        self._names = itertools.cycle(CLIENTS)

    def ask(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Answer rows, with the version that did."""
        found: list[dict[str, Any]] = []
        for start in range(0, len(rows), BATCH_ROWS):
            reply = self._post(self._path, {"instances": list(rows[start : start + BATCH_ROWS])})
            found += [{**one, "version": reply["version"]} for one in reply["predictions"]]
        return found

    def accuracy(self, known: Sequence[tuple[Row, str]]) -> tuple[float, int]:
        """The share of rows that are answered rightly, and the version that answered the last one."""
        answers = self.ask([row for row, _ in known])
        right = sum(str(answer["label"]) == label for answer, (_, label) in zip(answers, known, strict=True))
        return right / len(known), int(answers[-1]["version"])

    def correct(self, known: Sequence[tuple[Row, str]]) -> None:
        """Ask, and say for each row what is right; eight clients take turns."""
        for answer, (_, label) in zip(self.ask([row for row, _ in known]), known, strict=True):
            self._post("/v1/feedback", {"prediction_id": answer["prediction_id"], "label": label})

    def wait_for(self, version: int, row: Row) -> None:
        """Wait until this version answers: the server looks for a new champion every few seconds."""
        end = time.monotonic() + PATIENCE_SECONDS
        while int(self.ask([row])[0]["version"]) != version:
            assert time.monotonic() < end, f"the server has not swapped to version {version}"
            time.sleep(0.2)

    def _post(self, path: str, body: object) -> dict[str, Any]:
        reply = self._client.post(path, json=body, headers=_token(next(self._names)))
        assert reply.status_code == 200, reply.text
        return dict(reply.json())


class Steady:
    """Requests one after the other, from a thread of its own."""

    def __init__(self, url: str, task: str, row: Row) -> None:
        self.versions: list[int] = []
        self.failures: list[str] = []
        self.num_requests = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, args=(url, f"/v1/tasks/{task}/predict", row))

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def go_on(self) -> None:
        """Wait until one more request has been sent and answered."""
        end, number = time.monotonic() + PATIENCE_SECONDS, self.num_requests
        while self.num_requests < number + 2:  # counted when they are sent: the one before has been answered then
            assert time.monotonic() < end, "no requests are sent any more"
            time.sleep(0.05)

    def stop(self) -> None:
        """End, when the request under way is answered."""
        self._stop.set()
        self._thread.join()

    def _send(self, url: str, path: str, row: Row) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not self._stop.wait(0.1):
                self.num_requests += 1
                try:
                    reply = client.post(path, json={"instances": [row]}, headers=_token(CLIENTS[0]))
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                if reply.status_code != 200:
                    self.failures.append(reply.text)
                elif reply.json()["version"] not in self.versions[-1:]:
                    self.versions.append(reply.json()["version"])


@contextmanager
def _steady(url: str, task: str, row: Row) -> Iterator[Steady]:
    steady = Steady(url, task, row)
    steady.start()
    try:
        yield steady
    finally:
        steady.stop()


@contextmanager
def _server(folder: Path, task: str, tokens: Path) -> Iterator[str]:
    log = folder / "server.log"
    words = ["serve", task, "--port", "0", "--record", "full", "--tokens", str(tokens)]
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "flywheel.command.cli", *words], cwd=folder, env=_environment(folder), stdout=stream,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield _address(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"(http://\S+) serves", log.read_text())
        if found:
            return found[1]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def _flywheel(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flywheel.command.cli", *words],
        cwd=folder, env=_environment(folder), capture_output=True,
        text=True, timeout=3600, check=False,
    )  # fmt: skip


def _environment(folder: Path) -> dict[str, str]:
    dropped = ("MLFLOW_", "DVC_", "FLYWHEEL_", "PROMETHEUS")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return {**kept, "PYTHONPATH": str(folder / "src"), "PYTHONUNBUFFERED": "1"}


def _token(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer token-of-{name}"}

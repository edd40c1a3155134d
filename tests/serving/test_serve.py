"""A server as a person starts it: processes, sockets, signals, and a store whose champion moves."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from tests.serving.conftest import Clients, Running

from flywheel.feedback.store import FeedbackStore

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("serving")]
PREDICT = "/v1/tasks/digits/predict"
Array = np.ndarray[Any, Any]


def listed(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(f.relative_to(folder)): (f.stat().st_size, f.stat().st_mtime_ns) for f in folder.rglob("*")}


class Traffic(Clients):
    """They ask all the time, each on a connection it keeps."""

    def __init__(self, url: str, image: list[list[int]], num_clients: int = 4) -> None:
        super().__init__(url, image, num_clients)
        self.answers: list[tuple[int, int]] = []

    def talk(self, place: int) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self.ended.is_set():
                try:
                    answer = client.post(PREDICT, json={"image": self.image})
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    return
                self.answers.append((answer.status_code, answer.json().get("version", 0)))

    def wait_for(self, what: tuple[int, int]) -> None:
        end = time.monotonic() + 60
        while what not in self.answers[-20:]:
            assert time.monotonic() < end, self.answers[-20:]
            time.sleep(0.02)


def promote(home: Path, version: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(home))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.delenv("MLFLOW_REGISTRY_URI", raising=False)
        patch.chdir(home)
        from flywheel.registry.aliases import promote_by_hand

        promote_by_hand("digits", version)


@pytest.mark.end_to_end
def test_a_new_champion_takes_over_without_a_failed_request(
    serve: Callable[..., Running], home: Path, test_images: Array
) -> None:
    running = serve("--workers", "2", "--record", "off")
    with Traffic(running.url, test_images[0].tolist()) as traffic:
        traffic.wait_for((200, 1))
        promote(home, "2")
        traffic.wait_for((200, 2))
        promote(home, "1")
        traffic.wait_for((200, 1))
    assert not traffic.failures
    assert set(traffic.answers) == {(200, 1), (200, 2)}
    assert "digits/2 is in service, after digits/1" in running.log.read_text()
    _kill_and_count(running, len(traffic.answers), test_images[0].tolist())


def _kill_and_count(running: Running, num_before: int, image: list[list[int]]) -> None:
    """A killed worker is replaced, and what it had counted is not lost; a killed supervisor leaves no worker behind."""
    first = running.workers()
    os.kill(first[0], signal.SIGKILL)
    end = time.monotonic() + 60
    while len(running.workers()) < 2 or not set(running.workers()) - set(first):
        assert time.monotonic() < end
        time.sleep(0.05)
    for _ in range(20):
        assert httpx.post(running.url + PREDICT, json={"image": image}, timeout=60).status_code == 200
    text = httpx.get(f"{running.url}/metrics").text
    counted = re.findall(r'flywheel_requests_total\{route="predict",status="200"\S* ([\d.]+)', text)
    assert sum(map(float, counted)) == num_before + 20  # whichever worker is asked
    workers = [psutil.Process(pid) for pid in running.workers()]
    running.process.kill()
    running.process.wait()
    assert not psutil.wait_procs(workers, timeout=60)[1]


def test_nothing_is_written_and_no_request_is_lost_when_it_stops(
    serve: Callable[..., Running], home: Path, digits_store: Path, test_images: Array
) -> None:
    before = listed(home), listed(digits_store)
    running = serve("digits", "--record", "off")
    body = json.dumps({"instances": test_images.tolist()}).encode()  # four of them fit into max_queue_rows
    begun, ending = threading.Barrier(5), threading.Event()

    def halves() -> Iterator[bytes]:
        yield body[:1000]
        begun.wait(60)
        assert ending.wait(60)
        yield body[1000:]

    def send() -> int:
        with httpx.Client(base_url=running.url, timeout=60) as client:
            assert client.get("/readyz").status_code == 200  # a connection that the server has taken
            return client.post(PREDICT, content=halves(), headers={"content-type": "application/json"}).status_code

    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(send) for _ in range(4)]
        begun.wait(60)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)  # longer than the server goes on with connections that ask for nothing
        ending.set()
        code = running.process.wait(60)
        assert [one.result() for one in sent] == [200] * 4
    assert code == 0
    assert (listed(home), listed(digits_store)) == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/healthz")


def test_acknowledged_feedback_survives_kills(serve: Callable[..., Running], home: Path, test_images: Array) -> None:
    """kill -9 of workers, then of the server: every acknowledged feedback is in the store, once."""
    (home / "params.yaml").write_text("tasks: {}\n")
    url = f"sqlite:///{home}/killed.db"
    running = serve("digits", "--record", "full", "--workers", "2", FLYWHEEL_FEEDBACK_URL=url)
    acknowledged: set[str] = set()
    ended = threading.Event()

    def tell(name: int) -> None:
        number = 0
        while not ended.is_set():
            try:
                with httpx.Client(base_url=running.url, timeout=10) as client:
                    while not ended.is_set():
                        row = client.post(PREDICT, json={"image": test_images[0].tolist()}).json()["predictions"][0]
                        own = f"{name}-{number}"
                        told = {"prediction_id": row["prediction_id"], "correct": True, "feedback_id": own}
                        if client.post("/v1/feedback", json=told).status_code == 200:
                            acknowledged.add(own)
                        number += 1
            except (httpx.HTTPError, KeyError):
                number += 1
                time.sleep(0.02)

    threads = [threading.Thread(target=tell, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        before = len(acknowledged)
        end = time.monotonic() + 60
        while len(acknowledged) < before + 20:
            assert time.monotonic() < end, running.log.read_text()
            time.sleep(0.02)
        os.kill(running.workers()[0], signal.SIGKILL)
    os.kill(running.process.pid, signal.SIGKILL)
    ended.set()
    for thread in threads:
        thread.join()
    running.process.wait()
    kept = [one.feedback.feedback_id for one in FeedbackStore(url).answered("digits")]
    assert len(kept) == len(set(kept))
    assert acknowledged <= set(kept)
    assert len(acknowledged) >= 40


def test_strangers_and_headers_and_clients_that_go_on_for_ever_are_cut_off(
    home: Path, serve: Callable[..., Running]
) -> None:
    (home / "conf/serving.yaml").write_text("receive_seconds: 0.5\nmax_header_bytes: 4000\n")
    (home / "tokens").write_text("# ours\nweb 0123456789abcdef\n")
    running = serve("--tokens", "tokens", "--host", "0.0.0.0", "--record", "off")
    url = running.url.replace("0.0.0.0", "127.0.0.1")
    refused = httpx.get(f"{url}/v1/tasks")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert httpx.get(f"{url}/v1/tasks", headers={"authorization": "Bearer 0123456789abcdeg"}).status_code == 401
    assert httpx.get(f"{url}/v1/tasks", headers={"authorization": "Bearer 0123456789abcdef"}).status_code == 200
    assert "0123456789abcdef" not in running.log.read_text()
    port = int(running.url.rpartition(":")[2])

    def ask(content: bytes, *, then: bytes = b"") -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
            link.sendall(content)
            if then:
                time.sleep(0.1)
                link.sendall(then)
            found = b""
            while part := link.recv(65536):
                found += part
            return found

    line = b"POST /v1/tasks/digits/predict HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer 0123456789abcdef\r\n"
    assert b" 431 " in ask(line + b"a: " + b"b" * 5000 + b"\r\n\r\n")
    assert b" 431 " in ask(line + b"".join(b"a%d: b\r\n" % n for n in range(1000)) + b"\r\n")
    assert b" 431 " in ask(b"GET /" + b"a" * 3000, then=b"a" * 3000)
    assert b" 408 " in ask(line + b"a: b\r\n")
    assert b" 408 " in ask(line + b"content-length: 10\r\n\r\n123")
    assert b" 400 " in ask(b"nonsense\r\n\r\n")
    assert ask(b"") == b""  # has asked nothing
    assert json.loads(ask(b"nonsense\r\n\r\n").partition(b"\r\n\r\n")[2])["error"]["where"] == "request"
    assert httpx.get(f"{url}/healthz").status_code == 200

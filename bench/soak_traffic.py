"""Requests of all kinds to a running server, good and bad, and what its workers hold: memory, descriptors, threads."""

from __future__ import annotations

import base64
import io
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image

JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=x"}
NUM_CLIENTS = 4
REQUESTS_A_CONNECTION = 100
CYCLE = (
    *("predict", "predict", "file", "predict", "malformed", "predict", "feedback", "predict") * 5,
    "metrics", "explain", "page", "live",
)  # fmt: skip
MALFORMED = (
    ("predict", {"content": b'{"image": [[0, ', "headers": JSON}, (400,)),
    ("predict", {"json": {"nothing": 1}}, (422,)),
    ("predict", {"content": b"\xff" * 300, "headers": {"content-type": "image/png"}}, (415, 422)),
    (
        "predict",
        {"content": b"--x\r\nnonsense", "headers": FORM},
        (400,),
    ),
    ("predict", {"content": b"a,b", "headers": {"content-type": "text/csv"}}, (415,)),
    ("explain", {"json": {"instances": []}}, (400,)),
    ("none", {"json": {}}, (404, 405)),
)


@dataclass(frozen=True)
class Held:
    """What the workers hold; descriptors and threads of all of them together.

    Attributes:
        megabytes: Resident, of each.
        descriptors: Open ones.
        threads: Of them.
    """

    megabytes: tuple[float, ...]
    descriptors: int
    threads: int

    @classmethod
    def by(cls, pids: list[int]) -> Held:
        """What these processes hold now."""
        processes = [psutil.Process(pid) for pid in pids]
        return cls(
            tuple(process.memory_info().rss / 1e6 for process in processes),
            sum(process.num_fds() for process in processes),
            sum(process.num_threads() for process in processes),
        )

    def grown(self, since: Held) -> float:
        """By how many megabytes all workers together have grown: they take turns, and one may lag behind the other."""
        return sum(self.megabytes) - sum(since.megabytes)


class Asked:
    """One task as it is asked, made of the example that its version brings."""

    def __init__(self, url: str, task: str) -> None:
        self.path = f"/v1/tasks/{task}"
        with httpx.Client(base_url=url, timeout=60) as client:
            schema = client.get(self.path).json()["schema"]
            self.row: dict[str, Any] = client.get(f"{self.path}/choices").json()["example"]
        self.form = self._form("image" if "image" in schema["properties"] else "")

    def _form(self, picture: str) -> dict[str, Any]:
        """A form with the same row; JSON where a row has lists, which a form cannot hold."""
        if picture:
            stream = io.BytesIO()
            Image.fromarray(np.array(self.row[picture], np.uint8)).save(stream, "PNG")
            return {"files": {picture: ("one.png", stream.getvalue())}}
        if "audio" in self.row:
            return {"files": {"audio": ("one.wav", base64.b64decode(self.row["audio"]))}}
        if any(isinstance(value, list) for value in self.row.values()):
            return {"json": {"instances": [self.row] * 3}}
        return {"files": {name: (None, str(value)) for name, value in self.row.items()}}


class Soak:
    """Clients that go through `CYCLE` again and again, each with another task and another place in it.

    Args:
        url: Of the server.
        tasks: That it serves.

    Attributes:
        statuses: How often each kind was answered with which status.
        failures: Answers that should not have been.
    """

    def __init__(self, url: str, tasks: list[str]) -> None:
        self.url = url
        self.asked = [Asked(url, task) for task in tasks]
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.failures: list[str] = []
        self._lock = threading.Lock()

    def send(self, requests: int, cycle: tuple[str, ...] = CYCLE) -> None:
        """Send so many requests, from several clients, and close their connections."""
        share = requests // NUM_CLIENTS
        threads = [threading.Thread(target=self._client, args=(place, share, cycle)) for place in range(NUM_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _client(self, place: int, requests: int, cycle: tuple[str, ...]) -> None:
        known = [""] * len(self.asked)
        for start in range(0, requests, REQUESTS_A_CONNECTION):
            with httpx.Client(base_url=self.url, timeout=60) as client:
                for number in range(start, min(start + REQUESTS_A_CONNECTION, requests)):
                    turn, step = divmod(number + place * 11, len(cycle))
                    at = (turn + place) % len(self.asked)
                    kind, answer, good = self._one(client, cycle[step], self.asked[at], turn, known[at])
                    if kind == "predict" and answer.status_code == 200:
                        known[at] = answer.json()["predictions"][0]["prediction_id"]
                    self._note(kind, answer, good)

    def _one(
        self, client: httpx.Client, kind: str, asked: Asked, turn: int, known: str
    ) -> tuple[str, httpx.Response, tuple[int, ...]]:
        path = asked.path
        if kind == "predict":
            return kind, client.post(f"{path}/predict", json=asked.row), (200,)
        if kind == "file":
            return kind, client.post(f"{path}/predict", **asked.form), (200,)
        if kind == "malformed":
            verb, words, good = MALFORMED[turn % len(MALFORMED)]
            return kind, client.post(f"{path}/{verb}", **words), good
        if kind == "feedback":
            said = {"prediction_id": known or "nobody's", "correct": True}
            return kind, client.post("/v1/feedback", json=said), (200, 404)
        if kind == "explain":
            return kind, client.post(f"{path}/explain", json=asked.row), (200,)
        pages = {"metrics": "/metrics", "page": "/live", "live": f"{path}/live"}
        return kind, client.get(pages[kind]), (200,)

    def _note(self, kind: str, answer: httpx.Response, good: tuple[int, ...]) -> None:
        with self._lock:
            self.statuses[kind, answer.status_code] += 1
            if answer.status_code not in good:
                self.failures.append(f"{kind}: {answer.status_code} {answer.text[:200]}")

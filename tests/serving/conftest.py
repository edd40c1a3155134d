"""Fixtures for the server: one as a person starts it, clients of an application in this process, and a recorder."""

from __future__ import annotations

import abc
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image
from safetensors.numpy import load_file
from starlette.testclient import TestClient
from tests.serving.site import chromium, page, site  # noqa: F401 - fixtures of the pages' tests

from flywheel.project.instantiate import build
from flywheel.project.kind import READER
from flywheel.serving.http.app import make_gateway
from flywheel.serving.http.metrics import Metrics
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.record import Feedback, Prediction, Recorded
from flywheel.serving.version.recording import RecordingQueue
from flywheel.serving.version.repository import ModelRepository
from flywheel.serving.version.served import ChampionVersion

Array = np.ndarray[Any, Any]


@dataclass
class Kept:
    """A recorder that keeps everything in memory, and can be told to fail."""

    predictions: dict[str, Prediction] = field(default_factory=dict)
    feedback: dict[str, Feedback] = field(default_factory=dict)
    fails: bool = False

    def record_predictions(self, rows: Sequence[Prediction]) -> None:
        if self.fails:
            raise OSError("the store is down")
        for row in rows:
            self.predictions.setdefault(row.prediction_id, row)

    def record_feedback(self, rows: Sequence[Feedback]) -> list[Recorded]:
        if self.fails:
            raise OSError("the store is down")
        return [self._one(row) for row in rows]

    def _one(self, row: Feedback) -> Recorded:
        own = row.feedback_id or f"{row.prediction_id}-{row.label}-{row.correct}"
        if row.prediction_id not in self.predictions:
            return Recorded("unknown_prediction", own)
        held = self.feedback.setdefault(own, row)
        same = (held.prediction_id, held.label, held.correct) == (row.prediction_id, row.label, row.correct)
        return Recorded("stored" if held is row else "known" if same else "conflict", own)


class Running:
    """`flywheel serve` in a folder, on a free port."""

    def __init__(self, folder: Path, command: list[str], **environment: str) -> None:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "DVC_", "PROMETHEUS"))}
        self.log = folder.parent / f"{folder.name}.log"
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                command, cwd=folder, env={**env, "PYTHONUNBUFFERED": "1", **environment},
                stdout=stream, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.url = self._address()

    def _address(self) -> str:
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            found = re.search(r"(http://\S+) serves", self.log.read_text())
            if found:
                return found[1]
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def workers(self) -> list[int]:
        return sorted(child.pid for child in psutil.Process(self.process.pid).children())

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class Clients(abc.ABC):
    """Threads that talk to a server till the block ends."""

    def __init__(self, url: str, image: list[list[int]], num_clients: int) -> None:
        self.url, self.image = url, image
        self.ended = threading.Event()
        self.failures: list[str] = []
        self.threads = [threading.Thread(target=self.talk, args=(place,)) for place in range(num_clients)]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

    @abc.abstractmethod
    def talk(self, place: int) -> None:
        """Be one of the clients, till `ended` is set; what fails goes into `failures`."""


@pytest.fixture
def home(digits_store: Path, tmp_path: Path) -> Path:
    """A project of its own whose registry has the versions of `digits_store`; polled often."""
    folder = tmp_path / "home"
    (folder / "conf").mkdir(parents=True)
    for name in ("mlflow.db", "dvc.yaml"):
        shutil.copy(digits_store / name, folder)
    (folder / "conf/serving.yaml").write_text("poll_seconds: 0.2\n")
    return folder


@pytest.fixture
def serve(home: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def run(*words: str, **environment: str) -> Running:
        command = [sys.executable, "-m", "flywheel.command.cli", "serve", "--port", "0", *words]
        started.append(Running(home, command, **environment))
        return started[-1]

    yield run
    for running in started:
        if running.process.poll() is None:
            running.stop()


@pytest.fixture(scope="session")
def champion(digits_store: Path) -> ChampionVersion:
    """digits/1, which is `good`."""
    from flywheel.project.tracking import prepare
    from flywheel.registry.versions import files_of, resolve

    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("DVC_ROOT", str(digits_store))
        client = prepare()
        version = resolve(client, "digits", "1")
        return ChampionVersion("digits", 1, version.model_sha256, str(files_of(client, version)), version.sums)


@pytest.fixture
def client_of(request: pytest.FixtureRequest) -> Iterator[Callable[..., TestClient]]:
    """Make a client of a server of digits/1, or of these versions, with these settings."""
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    open_clients: list[TestClient] = []
    executor = ThreadPoolExecutor(2)

    def make(
        *champions: ChampionVersion,
        recorder: Kept | None = None,
        tokens: dict[str, str] | None = None,
        host: str = "localhost",
        look: Any = None,
        **settings: Any,
    ) -> TestClient:
        known, metrics = ServingSettings(**settings), Metrics()
        models = ModelRepository(known, executor, metrics)
        for one in champions or (request.getfixturevalue("champion"),):
            models.put(one)
        recording = None
        if recorder is not None:
            recording = RecordingQueue(recorder, known.record, known.record_queue_rows, metrics.unrecorded.inc)
        closing = recording.close if recording else lambda: None
        gateway = make_gateway(models, known, metrics, tokens=tokens, recording=recording, look=look, closing=closing)
        client = TestClient(gateway, base_url=f"http://{host}", raise_server_exceptions=False)
        client.__enter__()
        open_clients.append(client)
        return client

    yield make
    for client in open_clients:
        client.__exit__(None, None, None)
    executor.shutdown()


@pytest.fixture
def client(client_of: Callable[..., TestClient]) -> TestClient:
    """A client of a server of digits/1."""
    return client_of()


@pytest.fixture(scope="session")
def test_images(digits: Any) -> Array:
    """The raw pictures of the test rows of digits, in the order of the test set, uint8 [N, 8, 8]."""
    rows = load_file(digits.folder / digits.processed / "test.safetensors")["row"]
    reader = build(digits.task.data.reader.read, READER, where="read")
    frame = pd.concat(reader.read(digits.folder / digits.raw)["train"].chunks(1000))
    return np.stack(frame.loc[rows, "image"].tolist())


@pytest.fixture(scope="session")
def test_scores(digits: Any) -> Array:
    """What the export stage found for them, float32 [N, 10]."""
    found: Array = load_file(digits.folder / "good/export/scores.safetensors")["scores"]
    return found


def png(image: Array) -> bytes:
    """An encoded picture."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def npy(array: Array) -> bytes:
    """An array as a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def scores_of(answer: dict[str, Any]) -> list[list[float]]:
    """The probabilities of a response's predictions."""
    return [[row[f"probability_{n}"] for n in range(10)] for row in answer["predictions"]]


@pytest.fixture(scope="session")
def encode() -> Any:
    """`png`, `npy` and `scores_of` for tests, which cannot import from here."""

    class Encode:
        png, npy, scores_of = staticmethod(png), staticmethod(npy), staticmethod(scores_of)
        Kept = Kept

    return Encode

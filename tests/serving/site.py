"""A server of this process, for tests of its pages in a browser; `conftest.py` makes fixtures of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tests import browser

from flywheel.serving.http.access import read_tokens
from flywheel.serving.http.app import make_gateway
from flywheel.serving.http.metrics import Metrics
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.recording import RecordingQueue
from flywheel.serving.version.repository import ModelRepository

TASKS = ("tweets", "spoken_digits", "breast_cancer", "movielens")


class Site:
    """A server of this process, and what it was told."""

    def __init__(self, champions: list[Any], *, tokens: str = "") -> None:
        from tests.serving.conftest import Kept

        settings, metrics = ServingSettings(record="full"), Metrics()
        self.kept, self._executor = Kept(), ThreadPoolExecutor(2)
        models = ModelRepository(settings, self._executor, metrics)
        for champion in champions:
            models.put(champion)
        self.models = models
        self._recording = RecordingQueue(self.kept, "full", 1000, metrics.unrecorded.inc)
        known = read_tokens(None, {"FLYWHEEL_TOKENS": tokens})
        gateway = make_gateway(models, settings, metrics, tokens=known, recording=self._recording)
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(gateway, log_config=None, lifespan="off", ws="none"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._recording.close()
        self._executor.shutdown()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = browser.find()
    assert path, "no Chromium: run `make test`, or `python tests/browser.py`, which gets one"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=browser.arguments())
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(root: Path, champion: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server of every kind of task; all but digits are untrained."""
    from tests.serving.test_skew import as_json, build_champion, registered

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLYWHEEL_MIRROR", str(root / "tests/fixtures"))
        folder = tmp_path_factory.mktemp("project")
        patch.setenv("DVC_ROOT", str(folder))
        patch.chdir(folder)
        (folder / "dvc.yaml").touch()
        champions = [champion]
        for task in TASKS:
            made, frame, _ = build_champion(task, root)
            folder_of = folder / made.folder
            row = {name: as_json(value) for name, value in frame.iloc[0].items()}
            _write_example(folder_of, row)
            champions.append(registered(task, made.model_sha256, folder_of))
        made_site = Site(champions)
        yield made_site
        made_site.close()


def _write_example(folder: Path, row: dict[str, Any]) -> None:
    from flywheel.registry.predictor import Predictor

    found = Predictor.load(folder / "artifacts/model.onnx", folder / "artifacts/preprocessor.json", threads=1)
    names = [name for name in found.preprocessor.inputs.schema()["properties"] if name in row]
    held = {"columns": names, "data": [[row[name] for name in names]]}
    (folder / "input_example.json").write_text(json.dumps(held))


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page of which every error, and every request to another place, is a failure."""
    opened = chromium.new_page()
    opened.set_default_timeout(60_000)
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None)
    opened.on("request", lambda asked: None if _is_here(asked.url) else wrong.append(asked.url))
    opened.wrong = wrong
    yield opened
    opened.close()


def _is_here(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "blob:", "data:"))


def answered(page: Any) -> str:
    """Ask, wait for the explanation, and give the answer."""
    with page.expect_response("**/explain"):
        page.click("#predict")
    page.wait_for_selector("#explanation figure")
    assert page.is_hidden("#problem"), page.inner_text("#problem")
    return str(page.inner_text("#answer"))

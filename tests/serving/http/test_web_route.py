"""The pages for people: whole, closed to everything from elsewhere, and telling nothing without a token."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from flywheel.project.errors import FeedbackError
from flywheel.serving.http.routes import ROUTES
from flywheel.serving.version.served import ChampionVersion

TOKEN = "a" * 20


def test_pages_and_all_that_they_name_are_there_and_come_from_this_server(client: TestClient, root: Path) -> None:
    rooms = [file.parent.name for file in (root / "src/flywheel/modality").glob("*/field.js")]
    seen, waiting = set(), ["/", "/live", *(f"/web/field/{name}.js" for name in rooms)]
    while waiting:
        path = waiting.pop()
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", answer.text), path
        named = re.findall(r'(?:src|href)="(/web/[^"]+)"', answer.text)
        named += [f"/web/{name}" for name in re.findall(r"from '(?:\./|/web/)([^']+)'", answer.text)]
        waiting += [name for name in named if name not in seen]
    assert {"/web/main.js", "/web/live.js", "/web/chart.js", "/web/style.css", "/web/plain.js"} <= seen


def test_every_file_of_the_pages_is_used(client: TestClient, root: Path) -> None:
    texts = [file.read_text() for file in (root / "src/flywheel/serving/web").iterdir()]
    for file in (root / "src/flywheel/serving/web").glob("*.[cj]s*"):
        assert any(file.name in text for text in texts), file.name


@pytest.mark.parametrize(
    "path",
    [
        "/web/nothing.js",
        "/web/../app.py",
        "/web/%2e%2e/app.py",
        "/web//etc/passwd",
        "/web/",
        "/web/field/",
        "/web/field/nothing.js",
        "/web/field/image",
        "/web/field/%2e%2e/main.js",
    ],
)
def test_nothing_else_is_given(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_pages_need_no_token_and_their_data_do(client_of: Callable[..., TestClient]) -> None:
    client = client_of(tokens={"web": hashlib.sha256(TOKEN.encode()).hexdigest()})
    for path in ("/", "/live", "/web/main.js", "/web/field/image.js"):
        assert client.get(path).status_code == 200
    for path in ("/v1/tasks/digits/live", "/v1/tasks/digits/choices", "/v1/tasks", "/weblog", "/livery"):
        assert client.get(path).status_code == 401, path
    assert client.post("/v1/tasks/digits/explain", json={}).status_code == 401
    assert client.get("/v1/tasks", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_live_page_shows_what_is_seen_and_says_what_cannot_be(client_of: Callable[..., TestClient]) -> None:
    seen = {"days": 7, "check": None, "why_not": "too early", "volumes": [], "champions": [], "loop": []}

    def look(champion: ChampionVersion) -> dict[str, object]:
        return seen

    told = client_of(look=look).get("/v1/tasks/digits/live").json()
    assert {**seen, "task": "digits", "version": 1, "model_sha256": told["model_sha256"]} == told

    def fail(champion: ChampionVersion) -> dict[str, object]:
        raise FeedbackError("the feedback store cannot be used", where="here", fix="fix it")

    failed = client_of(look=fail).get("/v1/tasks/digits/live")
    assert failed.status_code >= 400
    assert failed.json()["error"]["what"] == "the feedback store cannot be used"
    assert client_of().get("/v1/tasks/digits/live").status_code == 404


def test_many_who_look_leave_the_threads_to_others(client_of: Callable[..., TestClient]) -> None:
    """Feedback, explanations and new champions need the threads that a slow look would take, one for each who asks."""
    on, begun = threading.Event(), threading.Semaphore(0)
    number = min(32, (os.cpu_count() or 1) + 4) + 2

    def look(champion: ChampionVersion) -> dict[str, object]:
        begun.release()
        on.wait(60)
        return {"days": 7, "check": None, "why_not": "", "volumes": [], "champions": [], "loop": []}

    client = client_of(look=look)
    with ThreadPoolExecutor(number) as people:
        asked = [people.submit(client.get, "/v1/tasks/digits/live") for _ in range(number)]
        try:
            assert begun.acquire(timeout=30)
            assert not begun.acquire(timeout=0.5), "one looks, the others wait for their turn"
            assert client.get("/v1/tasks/digits/choices").status_code == 200
        finally:
            on.set()
    assert {one.result().status_code for one in asked} == {200}


def test_every_route_of_the_table_is_answered_and_those_that_want_a_token_say_so(
    client: TestClient, client_of: Callable[..., TestClient]
) -> None:
    closed = client_of(tokens={"web": hashlib.sha256(TOKEN.encode()).hexdigest()})
    for route in ROUTES.values():
        path = route.path.format(task="digits", version=1, name="main.js")
        answer = client.request(route.method, path.replace("field/main", "field/image"))
        assert "no such page" not in answer.text, path
        assert answer.status_code != 405, path
        refused = closed.request(route.method, path).status_code == 401
        assert refused == (route.access == "token"), path
    assert {route.label for route in ROUTES.values()} == {"predict", "infer", ""}

"""The OpenAPI document: the requests that it shows can be sent as they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.serving.site import _write_example
from tests.serving.test_skew import as_json, build_champion, registered


@pytest.fixture
def tweets(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An untrained version of a task that takes a text, with an example."""
    monkeypatch.setenv("FLYWHEEL_MIRROR", str(root / "tests/fixtures"))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    made, frame, _ = build_champion("tweets", root)
    _write_example(tmp_path / made.folder, {name: as_json(value) for name, value in frame.iloc[0].items()})
    return registered("tweets", made.model_sha256, tmp_path / made.folder)


def test_requests_that_are_shown_are_answered(client_of: Callable[..., TestClient], tweets: Any) -> None:
    client = client_of(tweets)
    api = client.get("/openapi.json").json()
    row = api["components"]["schemas"]["tweets.Row"]["examples"][0]
    for name in ("predict", "explain"):
        assert client.post(f"/v1/tasks/tweets/{name}", json=row).status_code == 200
    paths = [path for path in api["paths"] if path.endswith("/infer")]
    assert paths == ["/v2/models/tweets/infer", "/v2/models/tweets/versions/1/infer"]
    answers = []
    for path in paths:
        example = api["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        answers.append(client.post(path, json=example))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert {answer.json()["model_version"] for answer in answers} == {"1"}
    said = api["components"]["schemas"]["FeedbackBody"]["examples"][0]
    assert client.post("/v1/feedback", json=said).status_code == 404  # this server keeps none

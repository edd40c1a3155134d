"""The OpenAPI document: the requests that it shows can be sent as they are."""

import shlex
import sys
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.serving.site import _write_example
from tests.serving.test_skew import as_json, build_champion, registered

TOKEN = "0123456789abcdef"


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


def by_curl(client: TestClient, sample: str) -> Any:
    """Send what a line of curl says; files are read as curl reads them."""
    words = iter(shlex.split(sample.replace("\\\n", "")))
    assert (next(words), next(words)) == ("curl", "-s")
    url, headers, body, data, files = next(words), {}, None, {}, {}
    for flag in words:
        value = next(words)
        if flag == "-H":
            headers.update([value.split(": ")])
        elif flag == "-d":
            body = value
        else:
            assert flag == "-F"
            name, content = value.split("=", 1)
            (files if content[0] == "@" else data)[name] = (
                Path(content[1:]).read_bytes() if content[0] == "@" else content
            )
    if body is None and not files:
        return client.get(url, headers=headers)
    return client.post(url, headers=headers, content=body, data=data, files={k: (k, v) for k, v in files.items()})


def in_python(client: TestClient, sample: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a sample whose `requests` asks this client."""
    answers = []

    def ask(method: str) -> Callable[..., Any]:
        def asked(url: str, **given: Any) -> Any:
            answers.append(client.request(method, url, **given))
            return answers[-1]

        return asked

    monkeypatch.setitem(sys.modules, "requests", SimpleNamespace(get=ask("GET"), post=ask("POST")))
    exec(compile(sample, "sample", "exec"), {})
    return answers[0]


def test_samples_of_every_route_are_answered(
    client_of: Callable[..., TestClient], tweets: Any, champion: Any, encode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(tweets, champion, recorder=encode.Kept(), tokens={"me": sha256(TOKEN.encode()).hexdigest()})
    assert client.get("/openapi.json").status_code == 401
    known = {"authorization": f"Bearer {TOKEN}"}
    assert client.get("/openapi.json?task=tweet", headers=known).status_code == 404
    for task, other in (("tweets", "digits"), ("digits", "tweets")):
        api = client.get("/openapi.json", params={"task": task}, headers=known).json()
        assert api["servers"] == [{"url": "http://localhost"}]
        assert not any(other in path for path in api["paths"])
        for path, operations in api["paths"].items():
            (operation,) = operations.values()
            curl, python = (one["source"] for one in operation["x-codeSamples"])
            assert ("TOKEN" in curl) == ("TOKEN" in python) == (operation.get("security") != [])
            answers = [by_curl(client, curl.replace("TOKEN", TOKEN)),
                       in_python(client, python.replace("TOKEN", TOKEN), monkeypatch)]  # fmt: skip
            statuses = {
                "/v1/feedback": 404,
                "/v1/tasks/{task}/live": 404,
            }  # no such prediction; this server does not look
            assert [answer.status_code for answer in answers] == [statuses.get(path, 200)] * 2, path


def test_rows_that_are_too_long_to_show_are_sent_as_files(
    client_of: Callable[..., TestClient], test_images: Any, encode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel.serving.http.openapi.MAX_EXAMPLE", 100)
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_bytes(encode.png(test_images[0]))
    client = client_of()
    paths = client.get("/openapi.json").json()["paths"]
    for name in ("predict", "explain"):
        curl, python = (one["source"] for one in paths[f"/v1/tasks/digits/{name}"]["post"]["x-codeSamples"])
        assert "-F image=@FILE" in curl
        assert by_curl(client, curl).status_code == in_python(client, python, monkeypatch).status_code == 200
    curl, _ = (one["source"] for one in paths["/v2/models/digits/infer"]["post"]["x-codeSamples"])
    content = b64encode(Path("FILE").read_bytes()).decode()
    assert by_curl(client, curl.replace("BASE64", content)).status_code == 200

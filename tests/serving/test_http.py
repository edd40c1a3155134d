"""What HTTP itself asks of a server: methods, headers, bodies; whatever is asked for."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

PREDICT = "/v1/tasks/digits/predict"
Array = np.ndarray[Any, Any]


def test_all_members_of_a_packed_body_are_read_and_what_follows_them_is_refused(
    client: TestClient, test_images: Array
) -> None:
    first, second = ({"image": image.tolist()} for image in test_images[:2])
    text = json.dumps({"instances": [first, second]}).encode()
    headers = {"content-encoding": "gzip"}
    for parts in ((text,), (text[:50], text[50:]), (b"", text[:9], b"", text[9:], b"")):
        body = b"".join(map(gzip.compress, parts))
        answer = client.post(PREDICT, content=body, headers=headers)
        assert (answer.status_code, len(answer.json()["predictions"])) == (200, 2)
    packed = gzip.compress(text)
    for tail, words in (
        (b"\0" * 20, "is no gzip"),
        (b"{}", "is no gzip"),
        (packed[:-4], "half a gzip"),
        (packed, "is not JSON"),
    ):
        answer = client.post(PREDICT, content=packed + tail, headers=headers)
        assert (answer.status_code, words in answer.text) == (400, True), answer.text
    answer = client.post(PREDICT, content=gzip.compress(b"") * 2000, headers=headers)
    assert (answer.status_code, "members" in answer.text) == (400, True)


def test_what_all_requests_hold_together_is_bounded(client_of: Callable[..., TestClient], test_images: Array) -> None:
    client = client_of(max_body_bytes=1000, max_held_bytes=2000)
    text = json.dumps({"image": test_images[0].tolist()}).encode()
    assert [client.post(PREDICT, content=text).status_code for _ in range(50)] == [200] * 50  # places are given back
    assert client.post(PREDICT, content=b"x").status_code == 400
    memory = client.app._memory  # type: ignore[attr-defined]
    assert memory.held == 0
    memory.held = 1900  # as if others held it
    answer = client.post(PREDICT, content=text)
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
    assert memory.held == 1900


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/", "/live", "/web/x"])
def test_what_needs_no_token_takes_no_body(client_of: Callable[..., TestClient], path: str) -> None:
    client = client_of(tokens={"web": "x"})
    for content in (b"x", iter([b"x"])):
        answer = client.request("GET", path, content=content)
        assert (answer.status_code, answer.headers["connection"]) == (400, "close")
    assert client.request("GET", path, headers={"content-length": "0"}).status_code in (200, 404)


def test_whatever_can_be_read_has_a_head(client: TestClient) -> None:
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/models/digits/ready", "/", "/v1/tasks", "/metrics"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b""), path
    assert client.head("/nothing").status_code == 404
    assert client.head(PREDICT).status_code == 405


def test_a_header_that_comes_twice_is_refused(client: TestClient) -> None:
    for name in ("host", "content-type", "x-subject", "authorization"):
        answer = client.post(PREDICT, json={}, headers=[(name, "localhost"), (name, "application/json")])
        assert (answer.status_code, answer.json()["error"]["where"]) == (400, name)
    twice = [("accept", "a"), ("accept", "b")]
    assert client.get("/v1/tasks", headers=twice).status_code == 200

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from flywheel.project.errors import ConfigError
from flywheel.serving.http.access import GUESS_BURST, MAX_CLIENTS, AccessControl, check_address, read_tokens
from flywheel.serving.problem import RequestError

TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"


def test_tokens_are_read_from_a_file_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"# two clients\nweb {TOKEN}\n\napp   {OTHER}\n")
    found = read_tokens(tmp_path / "tokens", {})
    assert set(found) == {"web", "app"}
    assert TOKEN not in str(found)
    assert read_tokens(None, {"FLYWHEEL_TOKENS": f"web {TOKEN},app {OTHER}"}) == found
    assert read_tokens(None, {}) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no tokens"),
        (TOKEN, "line 1: is not a name of its own and a token"),
        ("web short", "is no word of at least 16 characters"),
        (f"web {TOKEN}\nweb {OTHER}", "line 2: is not a name of its own"),
        (f"../web {TOKEN}", "is not a name of its own"),
        (f"web {TOKEN} {OTHER}", "is no word"),
    ],
)
def test_bad_tokens_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "tokens").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_tokens(tmp_path / "tokens", {})


def test_a_missing_file_of_tokens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tokens(tmp_path / "tokens", {})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])
def test_others_than_loopback_need_tokens(host: str) -> None:
    with pytest.raises(ConfigError, match="needs tokens"):
        check_address(host, {})
    check_address(host, {"web": "x"})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    check_address(host, {})


@pytest.mark.parametrize(
    "given", [b"", b"Bearer", b"Bearer ", b"Bearer wrong", b"Basic " + TOKEN.encode(), b"\xff\xfe"]
)
def test_who_has_no_token_stays_outside(given: bytes) -> None:
    access = AccessControl(read_tokens(None, {"FLYWHEEL_TOKENS": f"web {TOKEN}"}), 0, 1)
    with pytest.raises(RequestError) as caught:
        access.name_of(given)
    assert caught.value.status == 401
    assert access.name_of(b"bearer " + TOKEN.encode()) == "web"


def test_wrong_tokens_of_an_address_are_looked_at_now_and_then_only() -> None:
    access = AccessControl(read_tokens(None, {"FLYWHEEL_TOKENS": f"web {TOKEN},app {OTHER}"}), 0, 1)
    assert access.name_of(b"Bearer " + TOKEN.encode(), "here", now=0.0) == "web"
    for number in range(int(GUESS_BURST)):
        with pytest.raises(RequestError) as caught:
            access.name_of(b"Bearer %016d" % number, "here", now=0.0)
        assert caught.value.status == 401
    for token in (b"wrong", OTHER.encode()):  # a good guess, too, must wait: else the wait would tell nothing
        with pytest.raises(RequestError) as caught:
            access.name_of(b"Bearer " + token, "here", now=0.0)
        assert (caught.value.status, caught.value.headers["retry-after"]) == (429, "1")
    assert access.name_of(b"Bearer " + TOKEN.encode(), "here", now=0.0) == "web"  # who is known from here goes on
    assert access.name_of(b"Bearer " + OTHER.encode(), "there", now=0.0) == "app"
    assert access.name_of(b"Bearer " + OTHER.encode(), "here", now=2.0) == "app"
    for _ in range(2 * int(GUESS_BURST)):  # to ask without any is no guess: that is how a page begins
        with pytest.raises(RequestError) as caught:
            access.name_of(b"", "elsewhere", now=0.0)
        assert caught.value.status == 401


def test_a_client_has_a_bucket_of_its_own() -> None:
    access = AccessControl({}, rate=2, burst=3)
    for _ in range(3):
        access.count("a", now=10.0)
    with pytest.raises(RequestError) as caught:
        access.count("a", now=10.0)
    assert caught.value.status == 429
    assert caught.value.headers["retry-after"] == "1"
    access.count("b", now=10.0)
    access.count("a", now=10.5)
    with pytest.raises(RequestError):
        access.count("a", now=10.6)
    for number in range(MAX_CLIENTS + 10):
        access.count(str(number), now=11.0)
    assert len(access._requests.held) == MAX_CLIENTS


def test_pages_of_other_sites_are_refused_where_no_token_protects(client_of: Callable[..., TestClient]) -> None:
    assert client_of(host="evil.example").get("/v1/tasks").status_code == 403
    client = client_of()
    assert client.get("/v1/tasks", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    for origin in ("https://evil.example", "null", "http://localhost:3000", "http://localhost.evil.example"):
        for site in ({}, {"sec-fetch-site": "none"}, {"sec-fetch-site": "same-origin"}):
            answer = client.post("/v1/tasks/digits/predict", json={}, headers={"origin": origin, **site})
            assert (answer.status_code, answer.json()["error"]["where"]) == (403, "Origin"), origin
    own = {"host": "LocalHost:8080", "origin": "http://localhost:8080", "sec-fetch-site": "same-origin"}
    assert client.get("/v1/tasks", headers=own).status_code == 200
    for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST"):
        assert client.get("/v1/tasks", headers={"host": host}).status_code == 200
    assert client_of(host="evil.example").get("/healthz").status_code == 200


def test_the_server_says_when_to_come_again(client_of: Callable[..., TestClient]) -> None:
    client = client_of(rate_per_second=0.5, rate_burst=1)
    assert client.get("/v1/tasks").status_code == 200
    answer = client.get("/v1/tasks")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    assert client.get("/readyz").status_code == 200

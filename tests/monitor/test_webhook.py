"""Alerts, against a real server on this machine: taken, refused, slow, redirecting, gone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from flywheel.monitor.webhook import SIGNATURE, TIMESTAMP, send, signature, webhook_url
from flywheel.project.errors import ConfigError


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent; answers what `script` says, the last answer again and again."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.script: list[Any] = [200]
        self.released = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?token=very-secret"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        answer = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        if answer == "slow":
            self.server.released.wait(20)
            return
        if answer == "garbage":
            self.wfile.write(b"\x00\x01 this is no HTTP\n\n")
            return
        self.send_response(answer)
        if answer == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - the name is http.server's

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def post(url: str, tries: int = 3, seconds: float = 5.0) -> bool:
    return send(url, {"text": "ä"}, seconds=seconds, tries=tries, pause=0.01)


def test_a_message_is_taken_and_signed(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_WEBHOOK_SECRET", "s3cret")
    assert post(receiver.url)
    headers, body = receiver.got[0]
    assert json.loads(body) == {"text": "ä"}
    assert headers["Content-Type"] == "application/json"
    assert headers[SIGNATURE] == signature("s3cret", headers[TIMESTAMP], body)
    assert headers[SIGNATURE] != signature("other", headers[TIMESTAMP], body)


def test_without_a_secret_nothing_is_signed(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLYWHEEL_WEBHOOK_SECRET", raising=False)
    assert post(receiver.url)
    assert SIGNATURE not in receiver.got[0][0]


def test_a_failure_is_tried_again(receiver: Receiver) -> None:
    receiver.script = [500, "garbage", 204]
    assert post(receiver.url)
    assert len(receiver.got) == 3


@pytest.mark.parametrize("answer", [500, 404, 302, "garbage"])
def test_what_is_never_taken_is_given_up_and_no_address_is_told(
    receiver: Receiver, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.script = [answer]
    assert not post(receiver.url)
    assert len(receiver.got) == 3, "a redirect is not followed"
    assert "not accepted by 127.0.0.1 after 3 tries" in caplog.text
    assert "very-secret" not in caplog.text


def test_a_receiver_that_never_answers_is_not_waited_for(receiver: Receiver) -> None:
    receiver.script = ["slow"]
    before = time.monotonic()
    assert not post(receiver.url, tries=2, seconds=0.2)
    assert time.monotonic() - before < 10  # the receiver would wait for twenty


def test_nobody_there_is_a_failure_and_no_error(receiver: Receiver) -> None:
    assert not post("http://127.0.0.1:1/")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "nonsense", "http://"])
def test_only_web_addresses_are_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="not an http: or https: address"):
        webhook_url(url)


def test_the_address_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLYWHEEL_WEBHOOK_URL", raising=False)
    assert webhook_url() is None
    monkeypatch.setenv("FLYWHEEL_WEBHOOK_URL", "http://one/")
    assert webhook_url() == "http://one/"
    assert webhook_url("http://two/") == "http://two/"

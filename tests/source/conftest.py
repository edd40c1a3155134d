"""A project in a temporary folder, and a web server that misbehaves on request."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flywheel.project.config import DataConfig, DownloadConfig, FileConfig, ReaderConfig, SourceConfig
from flywheel.source import http


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project that the test runs in."""
    root = tmp_path / "project"
    (root / "conf").mkdir(parents=True)
    (root / "dvc.yaml").touch()
    monkeypatch.chdir(root)
    for name in ("DVC_ROOT", "FLYWHEEL_MIRROR", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return root


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would have been waited between tries."""
    waited: list[float] = []
    monkeypatch.setattr(http, "sleep", waited.append)
    return waited


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def make_data() -> Callable[..., DataConfig]:
    """Make a data set: `make_data(uri, ..., files={name: content or None})`; contents give the promised sums."""

    def make(*sources: str | SourceConfig, files: dict[str, bytes | None] | None = None) -> DataConfig:
        promised = {
            file: FileConfig() if content is None else FileConfig(sha256(content), len(content))
            for file, content in (files or {}).items()
        }
        listed = [SourceConfig(source) if isinstance(source, str) else source for source in sources]
        reader = ReaderConfig(read={})
        return DataConfig("toys", "Toys", "CC0-1.0", DownloadConfig(listed, promised), reader, homepage="https://toys")

    return make


@dataclass
class Web:
    """Files by path, and for each path what goes wrong, request by request.

    Attributes:
        script: `cut:N` (breaks off after N bytes of the body), `stall:N` (then sends nothing more), `corrupt`,
            `no-range` (answers 200 with everything), `wrong-range`, `longer` and `shorter` (Content-Length lies),
            `unsized` (no length: the end is the end of the connection), or a status such as `503` or `503:7`
            (Retry-After).
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    script: dict[str, list[str]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    etags: bool = True

    def gets(self, path: str | None = None) -> list[dict[str, str]]:
        """Headers of the GET requests so far."""
        return [headers for method, where, headers in self.requests if method == "GET" and path in (None, where)]


@pytest.fixture
def web() -> Iterator[Web]:
    """A running server."""
    state = Web()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"web": state}))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield state
    state.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.web.requests.append((self.command, self.path, dict(self.headers)))
        script = self.web.script.get(self.path, [])
        act = script.pop(0) if script and self.command == "GET" else ""
        content = self.web.files.get(self.path)
        if act[:3].isdigit() or content is None:
            self.refuse(act or "404")
        else:
            self.send_content(content, act)

    def refuse(self, act: str) -> None:
        status, _, wait = act.partition(":")
        self.send_response(int(status))
        if wait:
            self.send_header("Retry-After", wait)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_content(self, content: bytes, act: str) -> None:
        etag = f'"{sha256(content)[:8]}"'
        start, total = 0, len(content)
        asked = self.headers.get("Range", "")
        if asked and act != "no-range" and self.headers.get("If-Range", etag) == etag:
            start = int(asked.removeprefix("bytes=").partition("-")[0]) - (3 if act == "wrong-range" else 0)
        if start >= total > 0:
            self.refuse("416")
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if self.web.etags:
            self.send_header("ETag", etag)
        body = content[start:]
        if act == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:]
        if act == "unsized":
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body) + {"longer": 9, "shorter": -9}.get(act, 0)))
        self.end_headers()
        if self.command == "GET":
            self.send_body(body, act)

    def send_body(self, body: bytes, act: str) -> None:
        what, _, number = act.partition(":")
        self.wfile.write(body[: int(number)] if number else body)
        self.wfile.flush()
        if what == "stall":
            self.web.go_on.wait(20)
        if what in ("cut", "stall", "longer"):
            self.close_connection = True


@pytest.fixture
def make_tar(tmp_path: Path) -> Callable[..., Path]:
    """Make a tar of `(name, content)` pairs and ready-made `TarInfo`s."""

    def make(*members: tuple[str, bytes] | tarfile.TarInfo, name: str = "toys.tar.gz", mode: str = "w:gz") -> Path:
        path = tmp_path / name
        with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
            for member in members:
                if isinstance(member, tarfile.TarInfo):
                    tar.addfile(member)
                else:
                    info = tarfile.TarInfo(member[0])
                    info.size = len(member[1])
                    tar.addfile(info, io.BytesIO(member[1]))
        return path

    return make


@pytest.fixture
def make_deb(make_tar: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Make a Debian package by hand."""

    def make(*members: tuple[str, bytes], packed: str = "w:xz", end: str = "xz") -> Path:
        data = make_tar(*members, name=f"data.tar.{end}", mode=packed).read_bytes()
        parts = {"debian-binary": b"2.0\n", "control.tar.gz": gzip.compress(b"odd"), f"data.tar.{end}": data}
        package = b"!<arch>\n"
        for part, content in parts.items():
            package += f"{part:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
            package += b"\n" * (len(content) % 2)
        path = tmp_path / "toys_1.0_all.deb"
        path.write_bytes(package)
        return path

    return make

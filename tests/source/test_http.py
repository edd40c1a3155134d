"""Downloads over HTTP against a server that cuts, lies, stalls and changes its mind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flywheel.project.config import SourceConfig
from flywheel.project.errors import ChecksumError, SourceError
from flywheel.source import http
from flywheel.source.base import Job, SkippedError
from flywheel.source.http import HttpSource
from flywheel.source.partial import Partial

CONTENT = random.Random(0).randbytes(300_000)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    for name in ("scratch", "partial"):
        (tmp_path / name).mkdir()
    return Job(tmp_path / "scratch", tmp_path / "partial")


@pytest.fixture
def get(web: Any, job: Job) -> Iterator[Callable[..., bytes]]:
    """Download `/a.bin`, which holds CONTENT."""
    web.files["/a.bin"] = CONTENT
    with HttpSource(SourceConfig(""), job) as source:
        yield lambda path="/a.bin": source.get(f"{web.url}{path}").read_bytes()


def test_a_file_arrives_whole_and_leaves_no_partial(get: Callable[..., bytes], job: Job) -> None:
    assert get() == CONTENT
    assert [file.suffix for file in job.partial.iterdir()] == [".lock"]


def test_a_cut_download_goes_on_where_it_was(web: Any, get: Callable[..., bytes]) -> None:
    web.script["/a.bin"] = ["cut:100000", "cut:50000"]
    assert get() == CONTENT
    assert [headers.get("Range") for headers in web.gets()] == [None, "bytes=100000-", "bytes=150000-"]
    assert "If-Range" in web.gets()[1]


def test_tries_that_bring_new_bytes_are_not_counted(web: Any, get: Callable[..., bytes]) -> None:
    web.script["/a.bin"] = ["cut:1000"] * 20
    assert get() == CONTENT


def test_a_server_without_ranges_starts_anew(web: Any, get: Callable[..., bytes]) -> None:
    web.script["/a.bin"] = ["cut:100000", "no-range"]
    assert get() == CONTENT


def test_a_server_without_etags_is_never_resumed(web: Any, get: Callable[..., bytes]) -> None:
    web.etags = False
    web.script["/a.bin"] = ["cut:100000"]
    assert get() == CONTENT
    assert "Range" not in web.gets()[1]


def test_content_that_changed_since_the_cut_is_not_mixed(
    web: Any, get: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    web.script["/a.bin"] = ["cut:100000"]
    monkeypatch.setattr("flywheel.source.http.sleep", lambda _: web.files.update({"/a.bin": CONTENT[::-1]}))
    assert get() == CONTENT[::-1]
    assert "Range" in web.gets()[1]


def test_a_part_at_the_wrong_place_is_refused(web: Any, get: Callable[..., bytes]) -> None:
    web.script["/a.bin"] = ["cut:100000", "wrong-range"]
    assert get() == CONTENT


def test_a_length_that_is_too_long_is_a_cut(web: Any, get: Callable[..., bytes]) -> None:
    web.script["/a.bin"] = ["longer", "no-range"]
    assert get() == CONTENT


def test_a_server_that_always_promises_too_much_is_given_up(web: Any, get: Callable[..., bytes]) -> None:
    web.script["/a.bin"] = ["longer"] * 99
    with pytest.raises(SkippedError, match=rf"{len(CONTENT)} of {len(CONTENT) + 9} bytes|broke"):
        get()


def test_a_file_of_unknown_length_arrives(web: Any, get: Callable[..., bytes]) -> None:
    web.script["/a.bin"] = ["unsized"]
    assert get() == CONTENT


def test_an_overloaded_server_is_asked_again_later(web: Any, get: Callable[..., bytes], waits: list[float]) -> None:
    web.script["/a.bin"] = ["503", "503:7", "429"]
    assert get() == CONTENT
    assert waits[1] == 7
    assert waits[0] < waits[2] <= http.LONGEST_WAIT_S


def test_a_server_that_stays_overloaded_is_given_up(web: Any, get: Callable[..., bytes]) -> None:
    web.script["/a.bin"] = ["503"] * 99
    with pytest.raises(SkippedError, match="503"):
        get()
    assert len(web.gets()) == http.TRIES


@pytest.mark.parametrize("status", ["403", "404", "410"])
def test_a_refusal_is_not_repeated(web: Any, get: Callable[..., bytes], status: str) -> None:
    web.script["/a.bin"] = [status]
    with pytest.raises(SourceError, match=status):
        get()
    assert len(web.gets()) == 1


def test_a_stalled_download_is_resumed(web: Any, get: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_S", 0.2)
    web.script["/a.bin"] = ["stall:98304"]
    assert get() == CONTENT
    assert web.gets()[1]["Range"] == "bytes=98304-"


def test_an_unknown_host_is_given_up_at_once_and_not_asked_twice(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unknown(*arguments: object) -> None:
        asked.append(arguments)
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    with HttpSource(SourceConfig(""), job) as source:
        for name in ("a", "b"):
            with pytest.raises(SkippedError, match=r"nowhere\.example is not known"):
                source.get(f"https://nowhere.example/{name}")
    assert len(asked) == 1


def test_a_resolver_that_hangs_is_not_waited_for(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "DNS_S", 0.05)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: time.sleep(1))
    with HttpSource(SourceConfig(""), job) as source, pytest.raises(SkippedError, match="not resolved within"):
        source.get("https://slow.example/a")


def test_a_refused_connection_is_tried_twice(job: Job, waits: list[float]) -> None:
    with HttpSource(SourceConfig(""), job) as source, pytest.raises(SkippedError, match="Connection refused"):
        source.get("http://127.0.0.1:9/a")
    assert len(waits) == http.CONNECT_TRIES - 1


def test_a_redirect_from_https_to_http_is_refused(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    class Answer(SimpleNamespace):
        def __enter__(self) -> Answer:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(http, "_unresolved", lambda host: None)
    with HttpSource(SourceConfig(""), job) as source:
        monkeypatch.setattr(source._session(), "request", lambda *_, **__: Answer(url="http://toys.example/a"))
        with pytest.raises(SourceError, match="without encryption"):
            source.get("https://toys.example/a")


def test_the_sum_of_the_download_itself_is_checked(web: Any, job: Job) -> None:
    web.files["/a.bin"] = CONTENT
    with HttpSource(SourceConfig("", sha256="0" * 64), job) as source, pytest.raises(ChecksumError, match="0" * 64):
        source.get(f"{web.url}/a.bin")


def test_a_download_that_was_complete_when_killed_is_not_repeated(
    web: Any, get: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Partial, "move_to", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            get()
    assert get() == CONTENT
    assert [headers.get("Range") for headers in web.gets()] == [None, f"bytes={len(CONTENT)}-"]


def test_after_kill_9_the_rest_is_asked_for(web: Any, get: Callable[..., bytes], job: Job) -> None:
    web.script["/a.bin"] = ["stall:196608"]
    code = (
        "import sys; from pathlib import Path; from flywheel.project.config import SourceConfig\n"
        "from flywheel.source.base import Job; from flywheel.source.http import HttpSource\n"
        "HttpSource(SourceConfig(''), Job(Path(sys.argv[2]), Path(sys.argv[3]))).get(sys.argv[1])"
    )
    arguments = [f"{web.url}/a.bin", str(job.scratch), str(job.partial)]
    with subprocess.Popen([sys.executable, "-c", code, *arguments]) as process:
        deadline = time.monotonic() + 30
        while not any(file.stat().st_size == 196608 for file in job.partial.glob("*.part")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert get() == CONTENT
    assert web.gets()[-1]["Range"] == "bytes=196608-"


def test_a_full_disk_is_the_disks_error_and_the_download_can_go_on(
    web: Any, get: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    web.script["/a.bin"] = ["cut:100000"]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(http, "sleep", full)
        with pytest.raises(OSError, match="No space left"):
            get()
    assert get() == CONTENT
    assert web.gets()[-1]["Range"] == "bytes=100000-"


def test_probe_asks_for_headers_only(web: Any, get: Callable[..., bytes], job: Job) -> None:
    web.files["/a.bin"] = CONTENT
    with HttpSource(SourceConfig(""), job) as source:
        assert source.probe(f"{web.url}/a.bin") == "reachable, 300.0 kB"
        with pytest.raises(SourceError, match="404"):
            source.probe(f"{web.url}/none")
    assert web.gets() == []


def test_a_name_that_would_leave_the_folder_is_not_used() -> None:
    assert http.last_part("https://toys.example/a/b.csv?x=1") == "b.csv"
    assert http.last_part("https://toys.example/a/..%2F..%2Fpasswd") == "download"
    assert http.last_part("https://toys.example/") == "download"

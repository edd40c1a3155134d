"""A data set's way into a folder: order of sources, checksums, store, mirrors, one line for a failure."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.project.config import DataConfig, SourceConfig
from flywheel.project.digest import sha256_of
from flywheel.project.errors import ConfigError, FlywheelError, SourceError
from flywheel.source import http
from flywheel.source.fetch import fetch, obtain
from flywheel.source.store import Store

A, B = b"first file" * 1000, b"second file" * 1000


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder but the record."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    found.pop("source.json")
    return found


@pytest.fixture
def out(project: Path) -> Path:
    return project / "out"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged so far."""
    caplog.set_level("INFO", "flywheel")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture
def two(make_data: Callable[..., DataConfig], web: Any) -> DataConfig:
    """Two files with promised sums, gzipped on a web server."""
    web.files = {"/a.gz": gzip.compress(A), "/b.gz": gzip.compress(B)}
    return make_data(SourceConfig(f"{web.url}/{{file}}.gz", unpack="gzip"), files={"a": A, "b": B})


def test_files_and_record_arrive(two: DataConfig, out: Path, web: Any) -> None:
    record = fetch(two, out)
    assert contents(out) == {"a": A, "b": B}
    assert json.loads((out / "source.json").read_text()) == record
    assert record["uri"] == f"{web.url}/{{file}}.gz"
    assert record["sha256"] == {name: file.sha256 for name, file in two.download.files.items()}
    assert record["file_num_bytes"] == {"a": len(A), "b": len(B)}
    assert record["num_bytes"] == len(A) + len(B)
    assert (record["licence"], record["homepage"]) == ("CC0-1.0", "https://toys")


def test_the_second_time_nothing_is_downloaded(two: DataConfig, out: Path, web: Any, said: Any) -> None:
    fetch(two, out)
    asked = len(web.requests)
    assert obtain(two, out.with_name("other")).obtained_from == {"a": "store", "b": "store"}
    assert len(web.requests) == asked
    assert said()[-1] == "toys: 2 files, 21.0 kB, from the store (downloaded before)"


def test_the_record_does_not_tell_which_source_answered(two: DataConfig, out: Path, web: Any, said: Any) -> None:
    two.download.sources.append(SourceConfig("file:own/{file}"))
    fetch(two, out)
    web.files.clear()
    (out.parent / "own").mkdir()
    (out.parent / "own" / "a").write_bytes(A)
    (out.parent / "own" / "b").write_bytes(B)
    shutil.rmtree(Store().folder)
    fetched = obtain(two, out.with_name("other"))
    assert fetched.obtained_from == {"a": "file:own/a", "b": "file:own/b"}
    assert (out / "source.json").read_bytes() == (out.with_name("other") / "source.json").read_bytes()
    assert said()[-1] == "toys: 2 files, 21.0 kB, from file:own/{file}"


def test_a_raw_file_that_is_edited_does_not_spoil_the_store(two: DataConfig, out: Path) -> None:
    fetch(two, out)
    (out / "a").write_bytes(b"edited")
    fetch(two, out)
    assert contents(out) == {"a": A, "b": B}


def test_what_rotted_in_the_store_is_fetched_again(two: DataConfig, out: Path, web: Any, said: Any) -> None:
    fetch(two, out)
    rotten = Store().path(str(two.download.files["a"].sha256))
    rotten.chmod(0o644)
    rotten.write_bytes(b"rotten")
    web.requests.clear()
    fetch(two, out.with_name("other"))
    assert contents(out.with_name("other")) == {"a": A, "b": B}
    assert [path for _, path, _ in web.requests] == ["/a.gz"]
    assert any("rotted" in line for line in said())


def test_wrong_bytes_are_named_with_both_sums_and_the_next_source_is_asked(
    two: DataConfig, out: Path, web: Any, said: Any
) -> None:
    web.files |= {"/bad/a.gz": gzip.compress(b"wrong"), "/bad/b.gz": gzip.compress(B)}
    two.download.sources.insert(0, SourceConfig(f"{web.url}/bad/{{file}}.gz", unpack="gzip"))
    fetched = obtain(two, out)
    assert contents(out) == {"a": A, "b": B}
    assert fetched.obtained_from == {"a": f"{web.url}/a.gz", "b": f"{web.url}/bad/b.gz"}  # what was good is kept
    line = next(line for line in said() if "skipped" in line)
    got = "8810ad581e59f2bc3928b261707a71308f7e139eb04820366dc4d5c18d980225"
    assert line == (
        f"toys: skipped {web.url}/bad/{{file}}.gz: a: sha256 is {got}, promised was {two.download.files['a'].sha256}"
    )


def test_wrong_bytes_delete_nothing_that_is_good(two: DataConfig, out: Path, web: Any) -> None:
    fetch(two, out)
    two.download.files["a"].sha256 = "0" * 64
    with pytest.raises(SourceError, match="promised was 0000"):
        fetch(two, out.with_name("other"))
    assert contents(out) == {"a": A, "b": B}
    two.download.files["a"].sha256 = sha256_of(out / "a")
    web.files.clear()
    fetch(two, out.with_name("again"))
    assert contents(out.with_name("again")) == {"a": A, "b": B}


def test_a_wrong_size_is_named(two: DataConfig, out: Path) -> None:
    two.download.files["a"].num_bytes = len(A) + 1
    with pytest.raises(SourceError, match=f"has {len(A)} bytes, promised were {len(A) + 1}"):
        fetch(two, out)


def test_when_all_fail_one_line_has_each_reason(
    make_data: Callable[..., DataConfig], out: Path, web: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(out.parent))
    monkeypatch.setattr(http, "_unresolved", lambda host: "offline" if host == "nowhere.example" else None)
    sources = ["https://nowhere.example/{file}", f"{web.url}/{{file}}", "apt:toys/{file}", "file:none/{file}"]
    with pytest.raises(SourceError) as caught:
        fetch(make_data(*sources, files={"a": A}), out)
    line = str(caught.value)
    assert "\n" not in line
    assert line == (
        "data set toys: no source gave a: https://nowhere.example/{file}: offline"
        f" | {web.url}/{{file}}: a: the server answers 404 Not Found"
        " | apt:toys/{file}: apt-get is not installed (it is on Debian and Ubuntu only)"
        " | file:none/{file}: a: no such file or folder"
        "; go online, or set FLYWHEEL_MIRROR to a folder or server that has it"
    )


def test_a_source_that_dies_half_way_leaves_what_it_proved(two: DataConfig, out: Path, web: Any) -> None:
    two.download.sources.append(SourceConfig("file:own/{file}"))
    (out.parent / "own").mkdir()
    (out.parent / "own" / "b").write_bytes(B)
    web.script["/b.gz"] = ["503"] * 99
    assert obtain(two, out).obtained_from == {"a": f"{web.url}/a.gz", "b": "file:own/b"}


def test_files_without_sums_all_come_from_one_source(make_data: Callable[..., DataConfig], out: Path, web: Any) -> None:
    web.files = {"/old/a": b"old a", "/new/a": b"new a", "/new/b": b"new b"}
    data = make_data(f"{web.url}/old/{{file}}", f"{web.url}/new/{{file}}", files={"a": None, "b": None})
    fetch(data, out)
    assert contents(out) == {"a": b"new a", "b": b"new b"}


def test_without_sums_a_second_task_downloads_only_what_changed(
    make_data: Callable[..., DataConfig], out: Path, web: Any
) -> None:
    web.files = {"/toys.csv": b"1,2"}
    data = make_data(f"{web.url}/toys.csv")
    fetch(data, out)
    assert obtain(data, out.with_name("b")).obtained_from == {"toys.csv": "store"}
    assert len(web.gets()) == 1
    web.files["/toys.csv"] = b"3,4"
    fetch(data, out.with_name("c"))
    assert contents(out.with_name("c")) == {"toys.csv": b"3,4"}


def test_a_folder_without_sums_of_which_a_file_rotted_is_fetched_whole(
    make_data: Callable[..., DataConfig], out: Path, web: Any, make_tar: Callable[..., Path]
) -> None:
    web.files = {"/toys.tgz": make_tar(("a", A), ("b", B)).read_bytes()}
    data = make_data(SourceConfig(f"{web.url}/toys.tgz", "archive"))
    record = fetch(data, out)
    Store().path(record["sha256"]["b"]).unlink()
    assert fetch(data, out.with_name("other")) == record
    assert contents(out.with_name("other")) == {"a": A, "b": B}


def test_an_archive_with_a_sum_is_not_even_asked_for_again(
    make_data: Callable[..., DataConfig], out: Path, web: Any, make_tar: Callable[..., Path]
) -> None:
    web.files = {"/toys.tgz": make_tar(("toys/a", A), ("toys/c/b", B)).read_bytes()}
    packed = SourceConfig(f"{web.url}/toys.tgz", "archive", sha256_of(make_tar(("x", b""))), "toys")
    with pytest.raises(SourceError, match="promised was"):
        fetch(make_data(packed), out)
    packed.sha256 = sha256_of(make_tar(("toys/a", A), ("toys/c/b", B)))
    web.files = {"/toys.tgz": make_tar(("toys/a", A), ("toys/c/b", B)).read_bytes()}
    fetch(make_data(packed), out)
    assert contents(out) == {"a": A, "c/b": B}
    web.files.clear()
    assert obtain(make_data(packed), out.with_name("b")).obtained_from == {"a": "store", "c/b": "store"}


def test_an_archive_gives_the_named_files_only(
    make_data: Callable[..., DataConfig], out: Path, web: Any, make_tar: Callable[..., Path]
) -> None:
    web.files = {"/toys.tgz": make_tar(("toys/a", A), ("toys/b", B)).read_bytes()}
    packed = SourceConfig(f"{web.url}/toys.tgz", "archive", member="toys")
    fetch(make_data(packed, files={"a": A}), out)
    assert contents(out) == {"a": A}
    packed.member = ""
    with pytest.raises(SourceError, match="has no file 'c/a'; it has toys/a, toys/b"):
        fetch(make_data(packed, files={"c/a": A + b"?"}), out.with_name("b"))
    with pytest.raises(SourceError, match="set member: 'toys'"):
        fetch(make_data(packed, files={"a": A + b"?"}), out.with_name("b"))
    packed.member = "none"
    with pytest.raises(SourceError, match="the archive has no 'none'"):
        fetch(make_data(packed, files={"a": A + b"?"}), out.with_name("b"))


def test_an_own_folder_is_taken_as_it_is(make_data: Callable[..., DataConfig], out: Path, said: Any) -> None:
    own = out.parent / "own"
    for name in ("x/1.png", "y/2.png", ".DS_Store", ".git/config", "source.json"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_bytes(name.encode())
    record = fetch(make_data("file:own"), out)
    assert contents(out) == {"x/1.png": b"x/1.png", "y/2.png": b"y/2.png"}
    assert list(record["sha256"]) == ["x/1.png", "y/2.png"]
    assert any("left out: its source.json" in line for line in said())
    assert not any(path.is_file() for path in Store().folder.glob("??/*"))  # what is at hand is not kept twice
    (own / "x" / "1.png").write_bytes(b"edited")
    assert fetch(make_data("file:own"), out.with_name("b"))["digest"] != record["digest"]


def test_a_folder_of_gzipped_files_is_unpacked(make_data: Callable[..., DataConfig], out: Path) -> None:
    (out.parent / "own").mkdir()
    (out.parent / "own" / "a.gz").write_bytes(gzip.compress(A))
    (out.parent / "own" / "b").write_bytes(B)
    fetch(make_data(SourceConfig("file:own", unpack="gzip")), out)
    assert contents(out) == {"a": A, "b": B}
    assert (out.parent / "own" / "a.gz").exists()


def test_an_empty_folder_is_refused(make_data: Callable[..., DataConfig], out: Path) -> None:
    (out.parent / "own").mkdir()
    with pytest.raises(SourceError, match="holds no files"):
        fetch(make_data("file:own"), out)


def test_a_mirror_comes_first(two: DataConfig, out: Path, web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    web.files |= {"/mirror/toys/a.gz": gzip.compress(A), "/mirror/toys/b": B}  # one packed, one plain
    monkeypatch.setenv("FLYWHEEL_MIRROR", f"{web.url}/mirror/")
    fetched = obtain(two, out)
    assert fetched.obtained_from == {"a": f"{web.url}/mirror/toys/a.gz", "b": f"{web.url}/mirror/toys/b"}
    assert fetched.record["uri"] == f"{web.url}/{{file}}.gz"


def test_a_mirror_can_be_a_folder_and_may_lack_files(
    two: DataConfig, out: Path, web: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (out.parent / "mirror" / "toys").mkdir(parents=True)
    (out.parent / "mirror" / "toys" / "a").write_bytes(A)
    monkeypatch.setenv("FLYWHEEL_MIRROR", str(out.parent / "mirror"))
    fetched = obtain(two, out)
    assert fetched.obtained_from == {"a": f"file:{out.parent}/mirror/toys/a", "b": f"{web.url}/b.gz"}


def test_a_mirrors_password_is_not_shown(
    two: DataConfig, out: Path, web: Any, monkeypatch: pytest.MonkeyPatch, said: Any
) -> None:
    monkeypatch.setenv("FLYWHEEL_MIRROR", web.url.replace("//", "//me:secret@"))
    fetch(two, out)
    assert "***" in " ".join(said())
    assert "secret" not in " ".join(said())


def start_fetching(data: DataConfig, folder: Path, before: str = "") -> subprocess.Popen[bytes]:
    """Fetch in a process of its own."""
    imports = "import pickle, sys; from flywheel.source.fetch import fetch"
    code = f"{imports}\n{before}\nfetch(*pickle.load(sys.stdin.buffer))"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(pickle.dumps((data, folder)))
    process.stdin.flush()
    return process


def test_two_processes_download_once(two: DataConfig, out: Path, web: Any) -> None:
    web.script["/a.gz"] = ["stall:20"]  # the connection stands still until the second process is there, and then breaks
    processes = [start_fetching(two, out / name) for name in ("x", "y")]
    time.sleep(0.7)
    web.go_on.set()
    for process in processes:
        process.communicate(timeout=30)
    assert [process.returncode for process in processes] == [0, 0]
    assert contents(out / "x") == contents(out / "y") == {"a": A, "b": B}
    whole = [headers for headers in web.gets("/a.gz") if "Range" not in headers]
    assert (len(whole), len(web.gets("/b.gz"))) == (1, 1)


def test_a_full_disk_leaves_nothing_half_written(two: DataConfig, out: Path) -> None:
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))"
    process = start_fetching(two, out, full)
    _, complaint = process.communicate(timeout=30)
    assert b"OSError: [Errno 27] File too large" in complaint  # what a full disk looks like to the code
    assert not (out / "source.json").exists()
    assert not any(path.is_file() for path in Store().folder.glob("??/*"))
    fetch(two, out.with_name("other"))
    assert contents(out.with_name("other")) == {"a": A, "b": B}


def test_too_little_space_is_said_before_the_download(two: DataConfig, out: Path, web: Any) -> None:
    two.download.files["a"].num_bytes = 1 << 60
    with pytest.raises(FlywheelError, match=r"1152921\.5 TB are needed, .* are free; free space"):
        fetch(two, out)
    assert web.requests == []


@pytest.mark.parametrize(
    ("source", "files", "why"),
    [
        (SourceConfig("ftp://toys/a"), {}, "no kind of source 'ftp:'"),
        (SourceConfig("htps://toys/a"), {}, "did you mean 'https'"),
        (SourceConfig("toys.csv"), {}, "no kind of source"),
        (SourceConfig("https:///a"), {}, "not a web address"),
        (SourceConfig("file:{file}"), {}, "{file} stands for nothing"),
        (SourceConfig("file:a", sha256="12"), {}, "not a sha256"),
        (SourceConfig("file:{file}", sha256="0" * 64), {"a": A}, "one sha256 for several"),
        (SourceConfig("file:a", member="b"), {}, "member is for archives"),
        (SourceConfig("file:a", unpack="archive", member="../b"), {}, "outside the archive"),
        (SourceConfig("file:a"), {"../a": A}, "cannot be a file's name"),
        (SourceConfig("file:a"), {"source.json": A}, "cannot be a file's name"),
        (SourceConfig("pypi:toys/a"), {}, "<dist>==<version>"),
        (SourceConfig("pypi:-r==1/a"), {}, "<dist>==<version>"),
        (SourceConfig("apt:--x/a"), {}, "apt:<package>"),
        (SourceConfig("bundled:sklear/a"), {}, "did you mean 'sklearn'"),
        (SourceConfig("bundled:sklearn/../a"), {}, "bundled:<package>"),
    ],
)
def test_a_wrong_configuration_is_refused_before_any_work(
    make_data: Callable[..., DataConfig], out: Path, source: SourceConfig, files: dict[str, bytes], why: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        fetch(make_data("file:fine", source, files=files), out)
    assert why in str(caught.value)
    assert not out.exists()


def test_no_sources_are_refused(make_data: Callable[..., DataConfig], out: Path) -> None:
    with pytest.raises(ConfigError, match="no sources"):
        fetch(make_data(), out)

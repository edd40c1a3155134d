"""Object stores, with fsspec's file system in memory in the driver's place."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from flywheel.project.config import DataConfig
from flywheel.project.errors import SourceError
from flywheel.source import cloud
from flywheel.source.fetch import fetch, obtain
from flywheel.source.probe import probe


class Bucket(MemoryFileSystem):  # type: ignore[misc]
    """A store in memory that may want to know who is there."""

    protocol = "s3"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    opened: ClassVar[list[str]] = []
    public: ClassVar[bool] = True

    def __init__(self, anon: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.anon = anon

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("s3://").strip("/")

    def info(self, path: str, **options: Any) -> Any:
        if not self.anon:
            raise PermissionError("no credentials")
        if not self.public:
            raise PermissionError("forbidden")
        return super().info(path, **options)

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode == "rb":
            self.opened.append(path)
        return super().open(path, mode, **options)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setattr(cloud, "DRIVERS", {"s3": "fsspec", "gs": "no_such_driver"})
    monkeypatch.setitem(_registry, "s3", Bucket)
    Bucket.clear_instance_cache()
    Bucket.store, Bucket.pseudo_dirs, Bucket.opened, Bucket.public = {}, [""], [], True
    system = Bucket(anon=True)
    for name, content in {"a.csv": b"1,2", "more/b.csv": b"3,4"}.items():
        system.pipe_file(f"/toys/{name}", content)
    yield system
    Bucket.clear_instance_cache()


def test_a_file_of_a_public_bucket_arrives_without_credentials(
    make_data: Callable[..., DataConfig], bucket: Bucket, project: Path
) -> None:
    fetch(make_data("s3://toys/{file}", files={"a.csv": b"1,2"}), project / "out")
    assert (project / "out" / "a.csv").read_bytes() == b"1,2"


def test_a_folder_arrives_and_is_not_downloaded_twice(
    make_data: Callable[..., DataConfig], bucket: Bucket, project: Path
) -> None:
    data = make_data("s3://toys")
    assert list(fetch(data, project / "out")["sha256"]) == ["a.csv", "more/b.csv"]
    Bucket.opened.clear()
    assert set(obtain(data, project / "b").obtained_from.values()) == {"store"}
    assert Bucket.opened == []
    bucket.pipe_file("/toys/a.csv", b"new!")
    assert fetch(data, project / "c")["file_num_bytes"]["a.csv"] == 4


def test_what_is_not_there_is_said(make_data: Callable[..., DataConfig], bucket: Bucket, project: Path) -> None:
    with pytest.raises(SourceError, match="no source gave its files: s3://toys/none: is not there;"):
        fetch(make_data("s3://toys/none"), project / "out")
    (project / "own.csv").write_bytes(b"1,2")
    assert list(fetch(make_data("s3://toys/none", "file:own.csv"), project / "b")["sha256"]) == ["own.csv"]


def test_a_bucket_that_refuses_is_skipped(make_data: Callable[..., DataConfig], bucket: Bucket, project: Path) -> None:
    Bucket.public = False
    with pytest.raises(SourceError, match=r"no access \(no credentials\)"):
        fetch(make_data("s3://toys"), project / "out")


def test_a_connection_that_breaks_is_the_sources_fault(
    make_data: Callable[..., DataConfig], bucket: Bucket, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bucket, "open", lambda *_: (_ for _ in ()).throw(ConnectionResetError("reset by peer")))
    with pytest.raises(SourceError, match=r"no source gave .*reset by peer"):
        fetch(make_data("s3://toys"), project / "out")


def test_a_missing_driver_is_a_reason_with_its_fix(
    make_data: Callable[..., DataConfig], bucket: Bucket, project: Path
) -> None:
    with pytest.raises(SourceError, match=r"no_such_driver is not installed; `pip install 'flywheel\[gs\]'`"):
        fetch(make_data("gs://toys/a.csv"), project / "out")


def test_probe_tells_the_size(make_data: Callable[..., DataConfig], bucket: Bucket) -> None:
    assert probe(make_data("s3://toys/a.csv"))[0].detail == "reachable, 3 bytes"
    assert probe(make_data("gs://toys/a.csv"))[0].detail.startswith("no_such_driver is not installed")


def test_the_real_drivers_are_the_extras_of_the_project() -> None:
    assert set(cloud.DRIVERS.values()) == {"s3fs", "gcsfs"}
    assert importlib.util.find_spec("fsspec") is not None

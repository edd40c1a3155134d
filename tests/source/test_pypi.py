"""Files out of a wheel, fetched with the machine's own pip."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.project.config import DataConfig, SourceConfig
from flywheel.project.digest import sha256_of
from flywheel.project.errors import SourceError
from flywheel.source.fetch import fetch, obtain
from flywheel.source.probe import probe


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel that pip finds, and nothing else."""
    path = tmp_path / "index" / "toys-1.5-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toys/data/a.csv", b"1,2")
        archive.writestr("toys/data/b.csv", b"3,4")
        archive.writestr("toys/__init__.py", b"raise SystemExit('was run')")
        archive.writestr("toys-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: toys\nVersion: 1.5\n")
        archive.writestr("toys-1.5.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("toys-1.5.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return path


def test_files_arrive_and_nothing_is_installed(
    make_data: Callable[..., DataConfig], wheel: Path, project: Path
) -> None:
    data = make_data("pypi:toys==1.5/toys/data/{file}", files={"a.csv": b"1,2", "b.csv": None})
    assert obtain(data, project / "out").obtained_from["a.csv"] == "pypi:toys==1.5/toys/data/a.csv"
    assert (project / "out" / "b.csv").read_bytes() == b"3,4"
    assert importlib.util.find_spec("toys") is None
    wheel.unlink()
    assert obtain(data, project / "b").obtained_from == {"a.csv": "store", "b.csv": "store"}  # 1.5 never changes


def test_a_folder_of_the_wheel_can_be_named(make_data: Callable[..., DataConfig], wheel: Path, project: Path) -> None:
    assert list(fetch(make_data("pypi:toys==1.5/toys/data"), project / "out")["sha256"]) == ["a.csv", "b.csv"]


def test_what_is_not_there_is_said(make_data: Callable[..., DataConfig], wheel: Path, project: Path) -> None:
    with pytest.raises(SourceError, match=r"the wheel has no 'toys/none\.csv'"):
        fetch(make_data("pypi:toys==1.5/toys/none.csv"), project / "out")
    with pytest.raises(SourceError, match=r"No matching distribution found for toys==2\.0"):
        fetch(make_data("pypi:toys==2.0/toys/data"), project / "out")


def test_the_wheels_own_sum_is_checked(make_data: Callable[..., DataConfig], wheel: Path, project: Path) -> None:
    source = SourceConfig("pypi:toys==1.5/toys/data/{file}", sha256="0" * 64)
    data = make_data(source, files={"a.csv": b"1,2"})
    with pytest.raises(SourceError, match=f"sha256 is {sha256_of(wheel)}, promised was 0000"):
        fetch(data, project / "out")
    source.sha256 = sha256_of(wheel)
    fetch(data, project / "out")


def test_a_source_distribution_is_not_run(make_data: Callable[..., DataConfig], wheel: Path, project: Path) -> None:
    (wheel.parent / "evil-1.0.tar.gz").write_bytes(b"")
    with pytest.raises(SourceError, match=r"No matching distribution found for evil==1\.0"):
        fetch(make_data("pypi:evil==1.0/a"), project / "out")


def test_an_index_out_of_reach_is_said_so(
    make_data: Callable[..., DataConfig], wheel: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.delenv("PIP_RETRIES", raising=False)
    with pytest.raises(SourceError, match=r"No matching distribution .* \(Connection refused\)"):
        fetch(make_data("pypi:none==1.0/a"), project / "out")


def test_a_python_without_pip_is_a_reason_to_skip(
    make_data: Callable[..., DataConfig], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    data = make_data("pypi:toys==1.5/toys/data")
    with pytest.raises(SourceError, match="this Python has no pip; run `python -m ensurepip`"):
        fetch(data, project / "out")
    assert probe(data)[0].detail == "this Python has no pip; run `python -m ensurepip`"

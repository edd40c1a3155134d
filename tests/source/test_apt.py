"""Files out of a Debian package, with a stand-in for apt-get."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.project.config import DataConfig, SourceConfig
from flywheel.project.errors import SourceError
from flywheel.source.apt import parse
from flywheel.source.fetch import fetch, obtain
from flywheel.source.probe import probe

URI = "apt:toys/usr/share/toys/{file}"
MEMBERS = (("./usr/share/toys/a", b"1"), ("./usr/share/toys/b", b"2"), ("./usr/share/doc/c", b"3"))


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a Python script on an otherwise empty PATH as a command."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, code: str) -> None:
        # Through sh: a first line cannot name an interpreter whose path has a space.
        (folder / f"{name}.py").write_text(f"import os, shutil, sys\n{code}\n")
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder / name}.py" "$@"\n')
        (folder / name).chmod(0o755)

    return make


@pytest.fixture
def apt(commands: Callable[[str, str], None], make_deb: Callable[..., Path], tmp_path: Path) -> Path:
    """An apt-get that brings a package made of MEMBERS; gives the file it writes its arguments to."""
    package, notes = make_deb(*MEMBERS), tmp_path / "apt.txt"
    commands(
        "apt-get",
        f"open({str(notes)!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10))\n"
        "if sys.argv[-1] != 'toys': sys.exit('E: Unable to locate package ' + sys.argv[-1])\n"
        f"if '--print-uris' not in sys.argv: shutil.copy({str(package)!r}, '.')",
    )
    return notes


def test_files_arrive_through_one_download(make_data: Callable[..., DataConfig], apt: Path, project: Path) -> None:
    fetched = obtain(make_data(URI, files={"a": b"1", "b": b"2"}), project / "out")
    assert fetched.obtained_from["b"] == "apt:toys/usr/share/toys/b"
    assert (project / "out" / "a").read_bytes() == b"1"
    assert apt.read_text().count("download") == 1


def test_a_folder_of_the_package_can_be_named(make_data: Callable[..., DataConfig], apt: Path, project: Path) -> None:
    assert list(fetch(make_data("apt:toys/usr/share/toys"), project / "out")["sha256"]) == ["a", "b"]


def test_a_file_that_is_not_in_the_package_is_said(
    make_data: Callable[..., DataConfig], apt: Path, project: Path
) -> None:
    with pytest.raises(SourceError, match="the package has no 'usr/share/toys/none'"):
        fetch(make_data("apt:toys/usr/share/toys/none"), project / "out")


def test_an_unknown_package_is_looked_for_in_fresh_lists(
    make_data: Callable[..., DataConfig], apt: Path, project: Path
) -> None:
    with pytest.raises(SourceError, match=r"apt:others/a: Unable to locate package others;"):
        fetch(make_data("apt:others/a"), project / "out")
    first, update, second = apt.read_text().splitlines()
    assert "Dir::State::lists" not in first
    assert update.endswith("update")
    assert str(project / ".flywheel") in update  # lists of our own: the machine's stay as they are
    assert "Dir::State::lists" in second


def test_without_apt_get_the_source_is_skipped(
    make_data: Callable[..., DataConfig], commands: object, project: Path
) -> None:
    data = make_data(URI, files={"a": b"1"})
    with pytest.raises(SourceError, match="apt-get is not installed"):
        fetch(data, project / "out")
    assert not probe(data)[0].usable


def test_probe_asks_the_lists(make_data: Callable[..., DataConfig], apt: Path) -> None:
    assert probe(make_data("apt:toys/a"))[0].detail == "apt-get knows the package"
    assert "fresh ones" in probe(make_data("apt:others/a"))[0].detail


def test_the_packages_own_sum_is_checked(make_data: Callable[..., DataConfig], apt: Path, project: Path) -> None:
    with pytest.raises(SourceError, match="promised was 0000"):
        fetch(make_data(SourceConfig(URI, sha256="0" * 64), files={"a": b"1"}), project / "out")


@pytest.mark.parametrize(("packed", "end"), [("w:gz", "gz"), ("w:bz2", "bz2"), ("w", "")])
def test_other_compressions_are_read(
    make_data: Callable[..., DataConfig], apt: Path, project: Path, make_deb: Callable[..., Path], packed: str, end: str
) -> None:
    make_deb(*MEMBERS, packed=packed, end=end)
    fetch(make_data(URI, files={"a": b"1"}), project / "out")


def test_zstd_is_read_through_dpkg_deb(
    make_data: Callable[..., DataConfig],
    apt: Path,
    project: Path,
    make_deb: Callable[..., Path],
    make_tar: Callable[..., Path],
    commands: Callable[[str, str], None],
) -> None:
    plain = make_tar(*MEMBERS, name="plain.tar", mode="w")
    package = make_deb(*MEMBERS, packed="w", end="zst")
    content = bytearray(package.read_bytes())
    start = content.index(b"./usr/share/toys/a")
    content[start : start + 4] = b"\x28\xb5\x2f\xfd"
    package.write_bytes(content)
    data = make_data(URI, files={"a": b"1"})
    with pytest.raises(SourceError, match="zstd, and dpkg-deb is not installed"):
        fetch(data, project / "out")
    commands("dpkg-deb", f"sys.stdout.buffer.write(open({str(plain)!r}, 'rb').read())")
    fetch(data, project / "out")
    commands("dpkg-deb", "sys.exit(2)")
    with pytest.raises(SourceError, match=r"broken|dpkg-deb fails"):
        fetch(make_data(URI, files={"b": b"2"}), project / "out")


@pytest.mark.parametrize("cut", [10, 100, 200])
def test_a_broken_package_is_said_so(
    make_data: Callable[..., DataConfig], apt: Path, project: Path, make_deb: Callable[..., Path], cut: int
) -> None:
    package = make_deb(*MEMBERS)
    os.truncate(package, cut)
    with pytest.raises(SourceError, match="broken"):
        fetch(make_data(URI, files={"a": b"1"}), project / "out")


def test_what_is_no_package_is_said_so(
    make_data: Callable[..., DataConfig], apt: Path, project: Path, make_deb: Callable[..., Path]
) -> None:
    make_deb(*MEMBERS).write_bytes(b"<html>")
    with pytest.raises(SourceError, match="is not a Debian package"):
        fetch(make_data(URI, files={"a": b"1"}), project / "out")


def test_a_version_can_be_named() -> None:
    assert parse("apt:toys=1:2.0~git1-1+b2/a/b").package == "toys=1:2.0~git1-1+b2"

"""The user's own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.project.config import SourceConfig
from flywheel.project.errors import SourceError
from flywheel.source.base import Job
from flywheel.source.file import FileSource, local_path
from flywheel.source.folder import files_in


def test_paths_are_relative_to_the_project_absolute_or_from_home(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "conf" / "deep").mkdir()
    monkeypatch.chdir(project / "conf" / "deep")
    monkeypatch.setenv("HOME", "/home/me")
    assert local_path("file:data/own") == project / "data" / "own"
    assert local_path("file:/srv/x y%20.csv") == Path("/srv/x y%20.csv")
    assert local_path("file:///srv/x%20y.csv") == Path("/srv/x y.csv")
    assert local_path("file://localhost/srv/x") == Path("/srv/x")
    assert local_path("file:~/own.csv") == Path("/home/me/own.csv")


def test_in_a_dvc_experiment_what_git_ignores_is_found_in_the_main_checkout(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = tmp_path / "main"
    (main / "own").mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(main))
    assert local_path("file:own") == main / "own"
    (project / "own").mkdir()
    assert local_path("file:own") == project / "own"


def test_its_probe_tells_size_or_absence(project: Path, tmp_path: Path) -> None:
    source = FileSource(SourceConfig("file:a"), Job(tmp_path, tmp_path))
    with pytest.raises(SourceError, match="no such file"):
        source.probe("file:a")
    (project / "a").write_bytes(b"1234")
    assert source.probe("file:a") == "4 bytes"
    assert source.probe("file:.") == "a folder"


def test_a_folder_is_listed_in_order_through_links_and_out_of_circles(tmp_path: Path) -> None:
    real, folder = tmp_path / "real", tmp_path / "folder"
    for file in (real / "z", folder / "b" / "1", folder / "a"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for link in ("linked", "b/again"):
        (folder / link).symlink_to(real)
    (folder / "b" / "round").symlink_to(folder)
    assert list(files_in(folder)) == ["a", "b/1", "b/again/z", "linked/z"]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to("nothing")
    with pytest.raises(SourceError, match="broken link"):
        files_in(tmp_path)
    with pytest.raises(SourceError, match="cannot be read"):
        files_in(tmp_path / "none")


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "caf\udce9").touch()
    with pytest.raises(SourceError, match="not UTF-8"):
        files_in(tmp_path)

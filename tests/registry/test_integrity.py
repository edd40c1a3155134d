from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.project.tracking import prepare
from flywheel.registry import versions
from flywheel.registry.integrity import verify_registry


@pytest.fixture
def folder(project: Path, registered: Callable[..., Any]) -> Path:
    registered("good")
    client = prepare()
    return versions.files_of(client, versions.versions_of(client, "digits")[0])


def test_sound_versions_are_counted(folder: Path) -> None:
    found = verify_registry(fix=True)
    assert not found.damaged
    assert found.num_files > 20
    assert found.num_bytes > 10_000


def test_what_rotted_is_named_and_put_back_from_the_projects_folders(folder: Path) -> None:
    model, code = folder / "artifacts/model.onnx", folder / "code/flywheel/project/errors.py"
    good = model.read_bytes()
    model.write_bytes(good[:-1] + b"?")
    code.unlink()
    found = verify_registry(fix=False)
    assert [(one.file, one.belongs_to, one.fixed) for one in found.damaged] == [
        (model, "digits/1", ""), (code, "digits/1", ""),
    ]  # fmt: skip
    found = verify_registry(fix=True)
    assert all(one.fixed.startswith("put back from") for one in found.damaged)
    assert model.read_bytes() == good
    assert not verify_registry(fix=True).damaged


def test_what_has_no_copy_is_told_as_lost(folder: Path) -> None:
    (folder / "input_example.json").write_text("{}")
    found = verify_registry(fix=True)
    assert [(one.file.name, one.fixed) for one in found.damaged] == [("input_example.json", "")]


def test_versions_without_files_are_told_as_lost(folder: Path) -> None:
    shutil.rmtree(folder)
    found = verify_registry(fix=True)
    assert [(one.belongs_to, one.fixed) for one in found.damaged] == [("digits/1: its files are gone", "")]
    assert found.num_files == 0

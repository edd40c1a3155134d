from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from flywheel.modality.image.data import folder as image_folder
from flywheel.modality.image.data.folder import ImageFolderReader
from flywheel.project.errors import DataError


def test_pets_fixture_is_read_in_sorted_order(fixtures: Path) -> None:
    splits = ImageFolderReader().read(fixtures / "pets")
    assert {name: split.num_rows for name, split in splits.items()} == {"train": 10, "test": 4}
    frame = pd.concat(splits["train"].chunks(3))
    assert frame["file"].tolist() == sorted(frame["file"])
    assert frame["label"].tolist() == ["cat"] * 5 + ["dog"] * 5
    assert frame["image"][0].shape == (8, 8, 3)
    assert frame["image"][1].shape == (10, 8, 3)
    assert frame.index.tolist() == list(range(10))


def test_root_may_hold_the_class_folders_itself(fixtures: Path) -> None:
    splits = ImageFolderReader(train=".", test=None).read(fixtures / "pets/train")
    assert list(splits) == ["train"]
    assert splits["train"].num_rows == 10


def test_hidden_and_other_files_are_left_out_and_the_latter_said(
    fixtures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_folder.log, "propagate", True)
    shutil.copytree(fixtures / "pets/train", tmp_path / "train")
    cat = tmp_path / "train/cat"
    shutil.copy(cat / "0.png", cat / ".0.png")
    shutil.copytree(cat, tmp_path / "train/.git")
    (cat / "notes.txt").write_text("x")
    shutil.copy(cat / "0.png", tmp_path / "train/0.png")
    with caplog.at_level("INFO", "flywheel"):
        assert ImageFolderReader(test=None).read(tmp_path)["train"].num_rows == 10
    assert "1 files are not pictures" in caplog.text


def test_corrupt_pictures_are_bad_rows_not_crashes(fixtures: Path, tmp_path: Path) -> None:
    shutil.copytree(fixtures / "pets/train", tmp_path / "train")
    whole = (tmp_path / "train/cat/1.jpg").read_bytes()
    (tmp_path / "train/cat/1.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "train/cat/2.png").write_bytes(b"")
    (tmp_path / "train/dog/0.png").write_bytes(b"hello")
    frame = pd.concat(ImageFolderReader(test=None).read(tmp_path)["train"].chunks(100))
    bad = frame[frame["error"].notna()]
    assert bad["file"].tolist() == ["cat/1.jpg", "cat/2.png", "dog/0.png"]
    assert "corrupt picture" in bad["error"].iloc[0]
    assert bad["error"].tolist()[1:] == ["is empty", "is not a readable picture (PNG, JPEG, BMP, GIF or WebP)"]
    assert bad["image"].isna().all()
    assert len(frame) == 10


def test_frames_stay_small_however_many_rows_are_asked_for(fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_folder, "MAX_CHUNK_BYTES", 400)
    frames = list(ImageFolderReader(test=None).read(fixtures / "pets")["train"].chunks(1000))
    assert sum(map(len, frames)) == 10
    assert max(map(len, frames)) <= 3


def test_missing_folder_is_named(fixtures: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder; run the download stage"):
        ImageFolderReader(train="nowhere").read(fixtures / "pets")


def test_folder_without_class_folders_is_refused(fixtures: Path) -> None:
    with pytest.raises(DataError, match="no class folders with pictures"):
        ImageFolderReader(train=".", test=None).read(fixtures / "pets/train/cat")

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from flywheel.modality.text.data.folder import TextFolderReader
from flywheel.project.errors import DataError
from flywheel.project.types import Splits


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Four train and two test texts in folders of their class, some files that are none, one in latin-1."""
    for name, text in {
        "train/pos/10_9.txt": "fine", "train/pos/2_8.txt": "good\n", "train/neg/1_1.txt": "bad",
        "train/neg/3_2.txt": "b\u00e4d",
        "train/unsup/0_0.txt": "who knows", "train/urls.txt": "http://x",
        "train/neg/.hidden.txt": "", "train/neg/a.md": "",
        "test/neg/0_3.txt": "poor", "test/pos/0_9.txt": "gr\u00fcn",
    }.items():  # fmt: skip
        file = tmp_path / "raw" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode("latin-1" if "gr" in text else "utf-8"))
    return tmp_path / "raw"


def packed(reviews: Path, mode: str) -> Path:
    folder = reviews.parent / "packed"
    folder.mkdir()
    with tarfile.open(folder / "all.tar", mode) as archive:
        for path in sorted(reviews.rglob("*"), reverse=True):
            archive.add(path, f"top/{path.relative_to(reviews).as_posix()}", recursive=False)
    return folder


def frames(splits: Splits, rows: int = 100) -> dict[str, pd.DataFrame]:
    return {name: pd.concat(list(split.chunks(rows))) for name, split in splits.items()}


def test_folders_are_classes_and_paths_give_the_order(reviews: Path) -> None:
    splits = TextFolderReader(classes=["neg", "pos"]).read(reviews)
    found = frames(splits)
    assert {name: split.num_rows for name, split in splits.items()} == {"train": 4, "test": 2}
    assert found["train"]["text"].tolist() == ["bad", "b\u00e4d", "fine", "good\n"]
    assert found["train"]["label"].tolist() == ["neg", "neg", "pos", "pos"]
    assert found["train"]["file"].tolist()[:2] == ["neg/1_1.txt", "neg/3_2.txt"]
    assert "error" not in found["train"]
    assert TextFolderReader().read(reviews)["train"].num_rows == 5, "all folders, where none are named"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_gives_the_same_rows(reviews: Path, mode: str) -> None:
    plain = frames(TextFolderReader(classes=["neg", "pos"]).read(reviews))
    reader = TextFolderReader("top/train", "top/test", archive="all.tar", classes=["neg", "pos"])
    splits = reader.read(packed(reviews, mode))
    for rows in (2, 3, 100):
        found = frames(splits, rows)
        for name in plain:
            pd.testing.assert_frame_equal(found[name], plain[name])


def test_chunks_have_at_most_the_rows_asked_for(reviews: Path) -> None:
    split = TextFolderReader(classes=["neg", "pos"]).read(reviews)["train"]
    assert [frame.index.tolist() for frame in split.chunks(3)] == [[0, 1, 2], [3]]


def test_a_text_of_another_encoding_is_named(reviews: Path) -> None:
    test = frames(TextFolderReader(classes=["neg", "pos"]).read(reviews))["test"]
    assert test["error"].tolist() == [None, "is not utf-8 text (byte 2)"]
    assert test["text"].tolist() == ["poor", None]
    reader = TextFolderReader(classes=["neg", "pos"], encoding="latin-1")
    assert frames(reader.read(reviews))["test"]["text"].tolist() == ["poor", "gr\u00fcn"]


def test_what_is_missing_is_named(reviews: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        TextFolderReader("nowhere").read(reviews)
    with pytest.raises(DataError, match="has no texts of class 'great'"):
        TextFolderReader(classes=["neg", "great"]).read(reviews)
    with pytest.raises(DataError, match=r"no class folders with texts \(\*\.md2\)"):
        TextFolderReader(extension=".md2").read(reviews)
    with pytest.raises(DataError, match=r"all\.tar: missing"):
        TextFolderReader(archive="all.tar").read(reviews)
    folder = packed(reviews, "w:gz")
    whole = (folder / "all.tar").read_bytes()
    for broken in (b"", b"no archive at all", whole[: len(whole) // 2]):
        (folder / "all.tar").write_bytes(broken)
        with pytest.raises(DataError, match=r"all\.tar: is not a tar archive, or is damaged"):
            TextFolderReader("top/train", "top/test", archive="all.tar").read(folder)


def test_extensions_count_in_any_case(reviews: Path) -> None:
    (reviews / "train/neg/9_9.TXT").write_text("worse")
    plain = frames(TextFolderReader(classes=["neg", "pos"]).read(reviews))["train"]
    assert plain["file"].tolist() == ["neg/1_1.txt", "neg/3_2.txt", "neg/9_9.TXT", "pos/10_9.txt", "pos/2_8.txt"]
    assert frames(TextFolderReader(classes=["neg", "pos"], extension=".Txt").read(reviews))["train"].equals(plain)
    reader = TextFolderReader("top/train", "top/test", archive="all.tar", classes=["neg", "pos"])
    assert frames(reader.read(packed(reviews, "w")))["train"].equals(plain)


def test_a_text_that_is_a_link_in_an_archive_is_refused(reviews: Path) -> None:
    reader = TextFolderReader("top/train", "top/test", archive="all.tar", classes=["neg", "pos"])
    (reviews / "train/neg/notes").symlink_to("1_1.txt")  # no text by its name
    folder = packed(reviews, "w")
    assert reader.read(folder)["train"].num_rows == 4
    (reviews / "train/neg/5_5.txt").hardlink_to(reviews / "train/neg/1_1.txt")
    shutil.rmtree(folder)
    packed(reviews, "w")  # tar stores the second name as a link to the first
    with pytest.raises(DataError, match=r"all\.tar: 'top/train/neg/[15]_[15]\.txt' is a link; pack it with tar --hard"):
        reader.read(folder)
    (reviews / "train/neg/5_5.txt").unlink()
    (reviews / "train/neg/5_5.txt").symlink_to("1_1.txt")
    shutil.rmtree(folder)
    packed(reviews, "w")
    with pytest.raises(DataError, match=r"'top/train/neg/5_5\.txt' is a link"):
        reader.read(folder)

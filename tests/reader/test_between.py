"""Any rows of a split, read alone, are those that reading it from its beginning gives."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flywheel.modality.audio.data.folder import AudioFolderReader
from flywheel.modality.image.data.folder import ImageFolderReader
from flywheel.modality.image.data.idx import IdxReader
from flywheel.modality.interactions.data.reader import InteractionsReader
from flywheel.modality.text.data.folder import TextFolderReader
from flywheel.preprocessor.pipeline.feedback import appended, read_feedback
from flywheel.project.types import Split


def idx(folder: Path, root: Path) -> Any:
    for file in (root / "tests/fixtures/fashion_mnist").glob("train-*.gz"):
        (folder / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    return IdxReader("train-images-idx3-ubyte", "train-labels-idx1-ubyte")


def pictures(folder: Path, root: Path) -> Any:
    shutil.copytree(root / "tests/fixtures/pets", folder, dirs_exist_ok=True)
    return ImageFolderReader()


def texts(folder: Path, root: Path) -> Any:
    for row in range(11):
        file = folder / "train" / "ab"[row % 2] / f"{row}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"text {row}")
    return TextFolderReader(test=None)


def recordings(folder: Path, root: Path) -> Any:
    shutil.copytree(root / "tests/fixtures/tones", folder, dirs_exist_ok=True)
    return AudioFolderReader()


def zipped(folder: Path, root: Path) -> Any:
    shutil.copy(root / "tests/fixtures/spoken_digits/spoken_digits.zip", folder)
    return AudioFolderReader("spoken_digits.zip", pattern=r"(?P<label>\d)_.*", test_pattern=r"0_.*")


def interactions(folder: Path, root: Path) -> Any:
    shutil.copytree(root / "tests/fixtures/movielens", folder, dirs_exist_ok=True)
    return InteractionsReader("ml-100k.inter", "user_id", "item_id", "timestamp")


READERS = [idx, pictures, texts, recordings, zipped, interactions]


@pytest.mark.parametrize("make", READERS)
def test_rows_alone_are_the_rows_of_the_whole(tmp_path: Path, root: Path, make: Any) -> None:
    for split in make(tmp_path, root).read(tmp_path).values():
        check(split)


def test_feedback_follows_at_the_same_rows(tmp_path: Path, root: Path) -> None:
    own = texts(tmp_path, root).read(tmp_path)["train"]
    said = tmp_path / "said"
    said.mkdir()
    for name in "xy":
        rows = pd.DataFrame({"text": [f"{name} {row}" for row in range(4)], "label": ["a"] * 4})
        rows.to_parquet(said / f"{name}.parquet")
    split = appended(own, read_feedback(said))
    assert split.num_rows == own.num_rows + 8
    check(split)


def test_packed_files_are_read_from_their_beginning_only(tmp_path: Path, root: Path) -> None:
    reader = IdxReader("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    split = reader.read(root / "tests/fixtures/fashion_mnist")["train"]
    assert split.between is None
    assert appended(split, None).between is None
    assert sum(len(frame) for frame in split.chunks(7)) == split.num_rows


def check(split: Split) -> None:
    assert split.between is not None
    whole = pd.concat(list(split.chunks(3)))
    assert len(whole) == split.num_rows
    for first in range(0, split.num_rows, 5):
        for rows in (1, 4, 100):
            end = min(first + 5, split.num_rows)
            frames = list(split.between(first, end, rows))
            assert [row for frame in frames for row in frame.index] == list(range(first, end))
            assert max(map(len, frames)) <= rows
            found = pd.concat(frames)
            for column in found.columns:
                assert list(map(repr, found[column])) == list(map(repr, whole[column].iloc[first:end])), column

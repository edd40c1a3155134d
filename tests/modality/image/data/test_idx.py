from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flywheel.modality.image.data.idx import IdxReader
from flywheel.project.errors import ConfigError, DataError

IMAGES = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2)
LABELS = np.array([2, 0, 1, 1, 2], dtype=np.uint8)


def test_fashion_mnist_fixture_has_both_official_splits(fixtures: Path) -> None:
    reader = IdxReader(
        "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz", classes=[f"class {i}" for i in range(10)],
    )  # fmt: skip
    splits = reader.read(fixtures / "fashion_mnist")
    assert {name: split.num_rows for name, split in splits.items()} == {"train": 60, "test": 20}
    frame = pd.concat(splits["train"].chunks(7))
    assert list(frame.index) == list(range(60))
    assert frame["label"].value_counts().to_dict() == {f"class {i}": 6 for i in range(10)}
    assert frame["image"][0].shape == (28, 28)
    assert frame["image"][0].dtype == np.uint8


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_chunks_give_every_row_once_in_order(
    write_idx: Callable[..., Path], tmp_path: Path, suffix: str, rows: int
) -> None:
    write_idx(f"images{suffix}", IMAGES)
    write_idx(f"labels{suffix}", LABELS)
    split = IdxReader(f"images{suffix}", f"labels{suffix}").read(tmp_path)["train"]
    frames = list(split.chunks(rows))
    assert max(map(len, frames)) <= rows
    frame = pd.concat(frames)
    np.testing.assert_array_equal(np.stack(list(frame["image"])), IMAGES)
    assert frame["label"].tolist() == LABELS.tolist()
    assert frame.index.tolist() == [0, 1, 2, 3, 4]
    assert len(pd.concat(split.chunks(rows))) == 5, "a second pass must start anew"


def test_colour_pictures_are_read(write_idx: Callable[..., Path], tmp_path: Path) -> None:
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    write_idx("images", pixels)
    write_idx("labels", LABELS[:2])
    frame = next(IdxReader("images", "labels").read(tmp_path)["train"].chunks(10))
    np.testing.assert_array_equal(frame["image"][1], pixels[1])


def test_label_outside_the_classes_is_a_bad_row_with_its_reason(write_idx: Callable[..., Path], tmp_path: Path) -> None:
    write_idx("images", IMAGES)
    write_idx("labels", LABELS)
    frame = next(IdxReader("images", "labels", classes=["a", "b"]).read(tmp_path)["train"].chunks(10))
    why = "label 2 is not one of the 2 classes"
    assert frame["error"].tolist() == [why, None, None, None, why]
    assert frame["label"].tolist()[1:4] == ["a", "b", "b"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_truncated_file_is_named(write_idx: Callable[..., Path], tmp_path: Path, suffix: str) -> None:
    path = write_idx(f"images{suffix}", IMAGES, cut=7)
    write_idx("labels", LABELS)
    with pytest.raises(DataError, match="truncated: 23 bytes for 5 rows of 6") as caught:
        list(IdxReader(f"images{suffix}", "labels").read(tmp_path)["train"].chunks(2))
    assert caught.value.file == str(path)


def test_file_longer_than_its_header_is_refused(write_idx: Callable[..., Path], tmp_path: Path) -> None:
    path = write_idx("images.gz", IMAGES)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"xx"))
    write_idx("labels", LABELS)
    with pytest.raises(DataError, match="longer than its header says"):
        list(IdxReader("images.gz", "labels").read(tmp_path)["train"].chunks(2))


def test_truncated_gzip_is_named(write_idx: Callable[..., Path], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 9, 9), dtype=np.uint8)
    path = write_idx("images.gz", noise)
    path.write_bytes(path.read_bytes()[:-1000])
    write_idx("labels", np.zeros(50, np.uint8))
    with pytest.raises(DataError, match=r"images\.gz: truncated or corrupt gzip"):
        list(IdxReader("images.gz", "labels").read(tmp_path)["train"].chunks(4))


def test_missing_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="images: missing; run the download stage"):
        IdxReader("images", "labels").read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PNG\n\0\0\0\0", "does not start with two zero bytes"),
        (b"", "does not start with two zero bytes"),
        (b"\0\0\x0d\x01\0\0\0\1", "IDX type 0x0d"),
        (b"\0\0\x08\x03\0\0\0\1", "header is truncated"),
        (b"\0\0\x08\x01\0\0\0\1a", "holds 1 values, which are not pictures"),
    ],
)
def test_file_that_is_no_idx_of_pictures_is_refused(
    write_idx: Callable[..., Path], tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "images").write_bytes(content)
    write_idx("labels", LABELS)
    with pytest.raises(DataError, match=message):
        IdxReader("images", "labels").read(tmp_path)


def test_pair_with_different_numbers_of_rows_is_refused(write_idx: Callable[..., Path], tmp_path: Path) -> None:
    write_idx("images", IMAGES)
    write_idx("labels", LABELS[:4])
    with pytest.raises(DataError, match="labels: 4 labels for the 5 pictures of images"):
        IdxReader("images", "labels").read(tmp_path)


def test_half_a_test_split_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="test_images and test_labels go together"):
        IdxReader("a", "b", test_images="c")

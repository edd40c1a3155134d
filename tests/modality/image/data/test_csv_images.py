from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flywheel.modality.image.data.csv_images import CsvImageReader
from flywheel.project.errors import ConfigError, DataError


def read(path: Path, rows: int = 100, **options: object) -> pd.DataFrame:
    settings: dict[str, object] = {"label_column": -1, "image_size": [2, 2], "header": False, **options}
    reader = CsvImageReader(path.name, **settings)  # type: ignore[arg-type]
    split = reader.read(path.parent)["train"]
    frame = pd.concat(split.chunks(rows))
    assert split.num_rows == len(frame)
    return frame


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_digits_are_scaled_to_bytes(fixtures: Path, rows: int) -> None:
    frame = read(fixtures / "digits/digits.csv.gz", rows, image_size=[8, 8], max_value=16)
    raw = np.loadtxt(fixtures / "digits/digits.csv.gz", delimiter=",")
    np.testing.assert_array_equal(np.stack(list(frame["image"])).reshape(80, 64), np.rint(raw[:, :-1] * 255 / 16))
    assert frame["image"][0].dtype == np.uint8
    assert frame["label"].tolist() == raw[:, -1].tolist()
    assert "error" not in frame


def test_mnist5k_is_read(fixtures: Path) -> None:
    frame = read(fixtures / "mnist5k/mnist_5k.csv.gz", image_size=[28, 28])
    assert len(frame) == 50
    assert frame["image"][0].shape == (28, 28)
    assert frame["image"][0].max() == 255


def test_header_label_name_classes_and_test_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("what,p0,p1,p2,p3\n1,0,1,2,3\n0,4,5,6,255")
    (tmp_path / "b.csv").write_text("what,p0,p1,p2,p3\n1,9,9,9,9\n")
    reader = CsvImageReader("a.csv", "what", [2, 2], header=True, classes=["no", "yes"], test_path="b.csv")
    splits = reader.read(tmp_path)
    train = next(splits["train"].chunks(9))
    assert splits["train"].num_rows == 2
    assert train["label"].tolist() == ["yes", "no"]
    np.testing.assert_array_equal(train["image"][1], [[4, 5], [6, 255]])
    assert next(splits["test"].chunks(9))["image"][0].tolist() == [[9, 9], [9, 9]]


def test_colour_pixels(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,1,2,3,4,5,6\ny,1,2,3,4,5,6\n")
    frame = read(tmp_path / "a.csv", image_size=[1, 2], channels=3, label_column=0)
    assert frame["image"][0].tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert frame["label"].tolist() == ["x", "y"]


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_bad_rows_are_yielded_with_their_reasons(tmp_path: Path, rows: int) -> None:
    lines = ["0,1,2,3,cat", "0,oops,2,3,cat", "0,1,2,,dog", "0,1,256,3,dog", ""]
    lines += ["0,1,-1,3,dog", "0,1", "9,9,9,9,dog"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    frame = read(tmp_path / "a.csv", rows)
    errors = frame.get("error", pd.Series(dtype=object)).astype(object)
    assert errors.where(errors.notna(), None).tolist() == [
        None,
        "pixel column 1: 'oops' is not a number",
        "pixel column 3 is empty",
        "pixel column 2: 256 is outside 0..255",
        "pixel column 0 is empty",
        "pixel column 2: -1 is outside 0..255",
        "pixel column 2 is empty",
        None,
    ]
    assert [image is None for image in frame["image"]] == [False, True, True, True, True, True, True, False]
    assert frame["image"][7].tolist() == [[9, 9], [9, 9]]


def test_label_outside_the_classes_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("0,1,2,3,1\n0,1,2,3,7\n0,1,2,3,\n")
    frame = read(tmp_path / "a.csv", classes=["no", "yes"])
    assert frame["error"].tolist() == [None, "label 7 is not one of the 2 classes", None]
    assert frame["label"].isna().tolist() == [False, True, True]


def test_row_with_too_many_values_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("0,1,2,3,0\n0,1,2,3,0\n0,1,2,3,4,5,0\n")
    with pytest.raises(DataError, match=r"a\.csv, row 2: has 7 values, others have 5"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("0,1,2,0\n", {}, "has 4 columns, but 2x2x1 pixels and a label are 5"),
        ("", {}, "is empty"),
        ("a,b,c,d,e\n", {"header": True}, "has no rows"),
        ("a,b,c,d,lable\n0,0,0,0,1\n", {"header": True, "label_column": "label"}, "did you mean 'lable'"),
        ("0,1,2,3,0\n", {"label_column": 9}, "no column 9"),
    ],
)
def test_file_with_the_wrong_columns_is_refused(
    tmp_path: Path, content: str, options: dict[str, object], message: str
) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.csv", **options)


def test_corrupt_gzip_is_named(tmp_path: Path, fixtures: Path) -> None:
    content = (fixtures / "digits/digits.csv.gz").read_bytes()
    (tmp_path / "a.csv.gz").write_bytes(content[:-200])
    with pytest.raises(DataError, match=r"a\.csv\.gz: truncated or corrupt gzip"):
        read(tmp_path / "a.csv.gz", image_size=[8, 8], max_value=16)


@pytest.mark.parametrize(
    "options",
    [{"image_size": [28]}, {"image_size": [0, 2]}, {"channels": 2}, {"max_value": 0}, {"label_column": "label"}],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    settings: dict[str, object] = {"label_column": -1, "image_size": [2, 2], "header": False, **options}
    with pytest.raises(ConfigError):
        CsvImageReader("a.csv", **settings)  # type: ignore[arg-type]

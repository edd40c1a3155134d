from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.project.errors import DataError
from flywheel.registry.request import frame_of, plain

ONE = {"type": "object", "properties": {"image": {}}, "required": ["image"]}
TWO = {"type": "object", "properties": {"age": {"type": "number"}, "city": {"type": "string"}}, "required": ["age"]}
IMAGES = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)


@pytest.mark.parametrize("data", [
    IMAGES,
    list(IMAGES),
    tuple(IMAGES),
    {"image": IMAGES},
    [{"image": image} for image in IMAGES],
    pd.DataFrame({"image": list(IMAGES)}),
    pd.Series(list(IMAGES)),
])  # fmt: skip
def test_one_input_can_come_in_many_forms(data: Any) -> None:
    frame = frame_of(data, ONE)
    assert list(frame.columns) == ["image"]
    assert all(np.array_equal(value, image) for value, image in zip(frame["image"], IMAGES, strict=True))
    assert frame["image"].iloc[0].dtype == np.uint8


def test_bytes_and_texts_stay_as_they_are() -> None:
    assert frame_of([b"one", b"two"], ONE)["image"].tolist() == [b"one", b"two"]
    assert frame_of({"image": ["text"]}, ONE)["image"].tolist() == ["text"]


def test_a_frame_keeps_its_index_and_other_columns() -> None:
    frame = pd.DataFrame({"image": [1, 2], "file": ["a", "b"]}, index=[7, 9])
    assert frame_of(frame, ONE) is frame


def test_several_inputs_need_names() -> None:
    frame = frame_of([{"age": 3, "city": "Ulm"}, {"age": 4}], TWO)
    assert frame["age"].tolist() == [3, 4]
    assert frame["city"].iloc[0] == "Ulm"
    assert pd.isna(frame["city"].iloc[1])
    with pytest.raises(DataError, match="name the columns age, city"):
        frame_of(np.zeros((3, 2)), TWO)


@pytest.mark.parametrize(("data", "words"), [
    (pd.DataFrame({"imge": [1]}), "no column 'image'; did you mean 'imge'"),
    ({"image": [1, 2], "other": [1]}, "different numbers of rows"),
    ({"image": 3}, "different numbers of rows"),
    (3, "a int holds no rows"),
    (None, "a NoneType holds no rows"),
])  # fmt: skip
def test_what_holds_no_rows_is_refused(data: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        frame_of(data, ONE)


def test_raw_values_become_plain_json() -> None:
    assert plain(IMAGES[0]) == [[0, 1], [2, 3]]
    assert type(plain(np.int64(3))) is int
    assert plain("text") == "text"

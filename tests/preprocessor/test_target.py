from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flywheel.preprocessor.target import ClassTarget
from flywheel.project.errors import DataError


def fitted(*labels: object, **options: list[str]) -> ClassTarget:
    target = ClassTarget(**options)
    target.fit([pd.Series(list(labels))])
    return target


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([3, 1, 2, 10], ["1", "2", "3", "10"]),
        (["10", "9", "2"], ["2", "9", "10"]),
        (["b", "a", "10"], ["10", "a", "b"]),
        ([1.0, 2.0], ["1", "2"]),
        ([1.5, 2.0], ["1.5", "2"]),
        (["07", "7"], ["07", "7"]),
        ([True, False], ["false", "true"]),
    ],
)
def test_classes_are_sorted_as_numbers_where_they_all_are(labels: list[object], classes: list[str]) -> None:
    assert fitted(*labels).classes == classes


def test_given_order_is_kept() -> None:
    target = fitted("a", "b", "c", classes=["c", "a", "b"])
    assert target.encode(pd.Series(["a", "b", "c"])).tolist() == [1, 2, 0]
    assert target.encode(pd.Series(["a"])).dtype == np.int64
    assert target.meta() == {
        "target": {"kind": "class", "dtype": "int64"},
        "classes": ["c", "a", "b"],
        "num_classes": 3,
        "num_outputs": 3,
    }


def test_given_class_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="class 'c' has no rows in train"):
        fitted("a", "b", classes=["a", "b", "c"])


def test_one_class_is_too_few() -> None:
    with pytest.raises(DataError, match="holds 1 classes"):
        fitted("a", "a")


def test_same_label_in_other_types_is_the_same_class() -> None:
    target = ClassTarget()
    target.fit([pd.Series([1, 2]), pd.Series([1.0, None]), pd.Series(["2", "1"])])
    assert target.classes == ["1", "2"]
    assert target.encode(pd.Series([1.0, 2.0])).tolist() == [0, 1]


def test_clean_gives_names_and_reasons() -> None:
    labels = pd.Series(["a", None, " ", "z", "b "], index=[5, 6, 7, 8, 9])
    names, reasons = ClassTarget(["a", "b"]).clean(labels)
    assert names.drop([6, 7]).tolist() == ["a", "z", "b"]
    assert reasons.dropna().to_dict() == {
        6: "label is missing", 7: "label is missing", 8: "label 'z' is not one of the classes"
    }  # fmt: skip
    _, free = ClassTarget().clean(labels)
    assert list(free.dropna().index) == [6, 7]


def test_encode_names_the_row_and_the_nearest_class() -> None:
    target = fitted("trouser", "coat")
    with pytest.raises(DataError, match="labels, row 7: class 'trousers' is not known; did you mean 'trouser'"):
        target.encode(pd.Series(["coat", "trousers"], index=[6, 7]))
    with pytest.raises(DataError, match="label is missing"):
        target.encode(pd.Series(["coat", None]))


def test_decode_gives_label_probability_and_one_column_a_class() -> None:
    table = fitted("a", "b", "c").decode(np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]]))
    assert list(table.columns) == ["label", "probability", "probability_a", "probability_b", "probability_c"]
    assert table["label"].tolist() == ["b", "a"]
    assert table["probability"].tolist() == [0.7, 0.5]
    assert table["probability_c"].tolist() == [0.2, 0.3]
    with pytest.raises(DataError, match=r"shape \[1, 2\] do not fit 3 classes"):
        fitted("a", "b", "c").decode(np.zeros((1, 2)))


def test_json_round_trip() -> None:
    target = fitted("b", "a")
    again = ClassTarget.from_json(target.to_json())
    assert again.classes == ["a", "b"]
    assert again.to_json() == target.to_json()
    with pytest.raises(DataError, match="no list of classes"):
        ClassTarget.from_json({})


@pytest.mark.parametrize("classes", [["a"], ["a", "a"], []])
def test_class_lists_that_cannot_be_are_refused(classes: list[str]) -> None:
    with pytest.raises(ValueError, match="two different names"):
        ClassTarget(classes)


def test_a_class_is_one_however_its_name_is_composed() -> None:
    target = fitted("café", "the", "cafe\u0301")
    assert target.classes == ["café", "the"]
    assert target.encode(pd.Series(["cafe\u0301", "the"])).tolist() == [0, 1]
    assert fitted("café", "the", classes=["the", "cafe\u0301"]).classes == ["the", "café"]


def test_labels_that_mean_the_same_are_one_class_whatever_comes_first() -> None:
    values = [True, "true", "True", "TRUE", 1, 1.0, "1", "1.0", "a\r\nb", "a\nb", " a\rb "]
    for given in (values, values[::-1]):
        target = fitted(*given)
        assert target.classes == ["1", "a\nb", "true"]
        codes = dict(zip(map(repr, given), target.encode(pd.Series(given, dtype=object)).tolist(), strict=True))
        assert [codes[repr(value)] for value in values] == [2] * 4 + [0] * 4 + [1] * 3
    assert ClassTarget(classes=[True, False]).classes == ["true", "false"]

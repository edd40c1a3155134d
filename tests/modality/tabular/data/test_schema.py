"""numpy looks whether every value can be used, pandera says which cannot: both by the same rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flywheel.modality.tabular.data.columns import CategoryColumn
from flywheel.modality.tabular.data.schema import ProcessedSchema, RowSchema
from flywheel.preprocessor.values import LARGEST, NESTED, ValueRules

NUMBERS = [[1.0, -2.5], [np.nan, 0.0], [np.inf, 1.0], [1.0, -np.inf], [LARGEST, -LARGEST], [np.nan, np.nan]]
TEXTS = [["a", "b"], ["a", None], [None, None], ["c", "a"], [NESTED, "a"], ["b", NESTED], ["A", "a"], ["3", "3.0"]]


def texts_of(values: list[Any]) -> Any:
    return np.array([*values, None], dtype=object)[:-1]


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("kind", ["category", "identifier"])
@pytest.mark.parametrize("texts", TEXTS)
@pytest.mark.parametrize("numbers", NUMBERS)
def test_rows_hold_where_pandera_names_no_value(
    numbers: list[float], texts: list[Any], kind: str, closed: bool
) -> None:
    column = CategoryColumn("c", ("a", "b", "3"), refuses_unseen=True)
    schema = RowSchema({"n": "number", "d": "date", "c": kind}, ValueRules(), [column] if closed else ())
    typed = {"n": np.array(numbers), "d": np.array(numbers[::-1]), "c": texts_of(texts)}
    assert schema.holds(typed) == (schema.failures(typed) == [])


@pytest.mark.parametrize("codes", [[0, 2], [1, 1], [3, 0], [-1, 0]])
@pytest.mark.parametrize("numbers", [*NUMBERS[:4], [LARGEST, 0.0]])
def test_arrays_hold_where_pandera_names_no_value(numbers: list[float], codes: list[int]) -> None:
    schema = ProcessedSchema(["n"], {"c": 3})
    arrays = {"numeric": np.array(numbers, np.float32)[:, None], "categories": np.array(codes, np.int32)[:, None]}
    assert schema.holds(arrays) == (schema.named(arrays) == [])
    assert schema.failures(arrays) == schema.named(arrays)


def test_arrays_of_another_type_or_width_do_not_hold() -> None:
    schema = ProcessedSchema(["n"], {"c": 3})
    good: dict[str, Any] = {"numeric": np.ones((2, 1), np.float32), "categories": np.ones((2, 1), np.int32)}
    assert schema.holds(good)
    assert not schema.holds(good | {"numeric": np.ones((2, 1))})
    assert not schema.holds(good | {"categories": np.ones((2, 2), np.int32)})
    assert schema.holds({name: array[:0] for name, array in good.items()})

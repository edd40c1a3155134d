from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.preprocessor.values import (
    MISSING,
    NESTED,
    ValueRules,
    booleans_of,
    days_of,
    numbers_of,
    texts_of,
)
from flywheel.project.errors import ConfigError

RULES = ValueRules()


def objects(*values: Any) -> Any:
    return np.fromiter(values, dtype=object, count=len(values))


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pd.Series([3, -1]), ["3", "-1"]),
        (pd.Series([3.0, 0.1, np.nan, 1e300]), ["3", "0.1", None, "1e+300"]),
        (pd.Series([True, False]), ["true", "false"]),
        (pd.Series([True, None], dtype="boolean"), ["true", None]),
        (pd.Series([1, None], dtype="Int64"), ["1", None]),
        (pd.Series([" a b ", "NA", "None", "?", "-", "", "nan"]), ["a b", None, None, None, None, None, None]),
        (pd.Series(objects("x", None, 2, 2.0, 2.5, True, float("nan"))), ["x", None, "2", "2", "2.5", "true", None]),
        (pd.Series(objects([1], {"a": 1})), [NESTED, NESTED]),
        (pd.Series(pd.to_datetime(["2024-01-02", None])), ["2024-01-02T00:00:00", None]),
        (pd.Series(["b", "a", None], dtype="category"), ["b", "a", None]),
    ],
)
def test_a_value_means_the_same_wherever_it_comes_from(values: pd.Series, texts: list[str | None]) -> None:
    assert texts_of(values, RULES).tolist() == texts


def test_what_is_missing_can_be_stated() -> None:
    rules = ValueRules(missing=["999", "Unknown"])
    assert texts_of(pd.Series(["999", "UNKNOWN", "NA", "9990"]), rules).tolist() == [None, None, "NA", "9990"]
    assert texts_of(pd.Series([999, 1]), rules).tolist() == [None, "1"]
    assert "" in MISSING


def test_numbers() -> None:
    texts = objects("1", "-2.5", "+3", "1e3", "abc", None, "inf", "-Infinity", "1e39", "1e400", "1,234", "12%", "0x1F")
    wanted = [1, -2.5, 3, 1000, *[np.nan] * 9]
    assert numbers_of(texts, RULES).tolist() == pytest.approx(wanted, nan_ok=True)


def test_numbers_as_people_write_them() -> None:
    german = ValueRules(thousands=".", decimal=",")
    assert numbers_of(objects("1.234,5", "-2.000.000", None), german).tolist()[:2] == [1234.5, -2e6]
    shares = numbers_of(objects("12%", "1,250 %", "0.5"), ValueRules(thousands=",", percent=True))
    assert shares.tolist() == pytest.approx([0.12, 12.5, 0.5])


def test_truth_values() -> None:
    found = booleans_of(objects("Yes", "no", "TRUE", "f", "1", "0", "maybe", None, "2"))
    assert found.tolist() == pytest.approx([1, 0, 1, 0, 1, 0, np.nan, np.nan, np.nan], nan_ok=True)


def test_dates_are_days_in_utc() -> None:
    texts = objects("1970-01-02", "1970-01-02T12:00:00", "1970-01-02T00:00:00+12:00", "02.01.1970", "1970/01/02",
                    "01/02/1970", "2024-13-01", None)  # fmt: skip
    wanted = [1, 1.5, 0.5, 1, 1, np.nan, np.nan, np.nan]
    assert days_of(texts, RULES).tolist() == pytest.approx(wanted, nan_ok=True)
    assert days_of(objects("01/02/1970"), ValueRules(date_formats=["%d/%m/%Y"])).tolist() == [31.0]


@pytest.mark.parametrize("rules", [{"thousands": ",", "decimal": ","}, {"thousands": "', '"}, {"decimal": ""}])
def test_marks_that_cannot_be_told_apart(rules: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"decimal|thousands"):
        ValueRules(**rules).check("here")


def test_numbers_get_the_decimal_sign_that_is_stated() -> None:
    rules = ValueRules(thousands=".", decimal=",")
    values = (2.75, np.float64(0.5), Decimal("2.50"), Decimal("3.00"), Decimal("NaN"), 4.0, "2,75", float("nan"))
    texts = ["2,75", "0,5", "2,50", "3", None, "4", "2,75", None]
    assert texts_of(pd.Series(objects(*values)), rules).tolist() == texts
    assert texts_of(pd.Series([2.75, 3.0]), rules).tolist() == ["2,75", "3"]
    assert texts_of(pd.Series([2.75, None], dtype="Float64"), rules).tolist() == ["2,75", None]
    assert numbers_of(texts_of(pd.Series([-2.75, 1.5e-7]), rules), rules).tolist() == [-2.75, 1.5e-7]

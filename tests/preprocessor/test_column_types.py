from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flywheel.preprocessor.column_evidence import ColumnEvidence
from flywheel.preprocessor.column_types import TypeDecision, check_types, decide
from flywheel.preprocessor.values import ValueRules
from flywheel.project.errors import DataError


def decision(values: list[str | None], name: str = "x", declared: str | None = None, **given: Any) -> TypeDecision:
    seen = ColumnEvidence(given.pop("max_distinct", 1000), given.pop("rules", ValueRules()))
    seen.add(np.fromiter(values, dtype=object, count=len(values)), np.arange(len(values)))
    return decide(name, seen, declared, drop_constant=given.pop("drop_constant", True))


SHUFFLED = [str(n) for n in np.random.default_rng(0).permutation(100)]


@pytest.mark.parametrize(
    ("values", "name", "kind"),
    [
        (["1.5", "2", None, "3"], "x", "number"),
        (["1", "2", "1", "3"], "x", "number"),
        (["01", "02", "10", "01"], "x", "category"),
        (SHUFFLED, "income", "number"),
        (SHUFFLED * 3, "user_id", "category"),
        (["yes", "no", "YES", None], "x", "boolean"),
        (["t", "f"], "x", "boolean"),
        (["yes", "no", "maybe"], "x", "category"),
        (["0", "1", "1"], "x", "number"),
        (["2024-01-02", "2023-05-06", None], "x", "date"),
        (["02.01.2024", "06.05.2023"], "x", "date"),
        (["01/02/2024", "06/05/2023"], "x", "category"),
        (["a", "b", "a"], "x", "category"),
        (["1", "2", "3a", "4b"], "x", "category"),
        (["only", None, "only"], "x", "category"),
    ],
)
def test_kinds_are_inferred(values: list[str | None], name: str, kind: str) -> None:
    assert decision(values, name).kind == kind


@pytest.mark.parametrize(
    ("values", "name", "why"),
    [
        ([None, None], "x", "no values in train"),
        (["7", "7"], "x", "constant: '7' in every row of train"),
        ([str(n) for n in range(20)], "x", "a row number"),
        (SHUFFLED, "user_id", "an identifier, by its name"),
        (SHUFFLED, "PassengerID", "an identifier, by its name"),
        ([f"name {n}" for n in range(30)], "x", "names of rows: 30 different values in 30 rows"),
        ([f"a long text of many words {n}" for n in range(30)], "x", "free text: 30 different"),
        ([f"w{n}" for n in range(2000)] * 3, "x", "names of rows: more than 1,000 different"),
    ],
)
def test_columns_that_are_no_inputs_have_a_reason(values: list[str | None], name: str, why: str) -> None:
    found = decision(values, name)
    assert found.kind is None
    assert why in found.why


def test_the_configuration_has_the_last_word() -> None:
    assert decision(SHUFFLED, "user_id", "number").kind == "number"
    assert decision(SHUFFLED, "x", "category").kind == "category"
    assert decision(["1", "2"], "x", "identifier") == TypeDecision(None, "identifier, as types says")
    assert decision(["7", "7"], "x", "number").kind is None
    assert decision(["7", "7"], "x", "number", drop_constant=False).kind == "number"


@pytest.mark.parametrize(
    ("odd", "values", "message"),
    [
        ("abc", SHUFFLED, r"row 60: column 'x': 1 of 101 values are not numbers, 'abc' first; .*types: {x: number}"),
        ("inf", SHUFFLED, "'inf' first"),
        ("soon", ["2024-01-02", "2024-01-03"] * 50, "1 of 101 values are not dates, 'soon' first"),
    ],
)
def test_a_mixed_column_is_for_a_person_to_decide(odd: str, values: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        decision([*values[:60], odd, *values[60:]])


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="'age' is a 'float', which is not one of number, category"):
        check_types({"age": "float"})

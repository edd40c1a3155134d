from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from flywheel.preprocessor.column_evidence import SAMPLE_ROWS, ColumnEvidence, RowSample, distinct_limit
from flywheel.preprocessor.values import ValueRules

WORDS = ["1", "2.5", None, "007", "yes", "2024-01-02", "two words", "1", "9"]


def gathered(values: list[str | None], chunk: int) -> ColumnEvidence:
    seen = ColumnEvidence(5, ValueRules())
    for start in range(0, len(values), chunk):
        part = values[start : start + chunk]
        seen.add(np.fromiter(part, dtype=object, count=len(part)), np.arange(start, start + len(part)))
    return seen


def test_counts() -> None:
    seen = gathered(WORDS, 100)
    assert (seen.num_rows, seen.num_missing, seen.num_numbers, seen.num_fractions) == (9, 1, 5, 1)
    assert (seen.num_codes, seen.num_booleans, seen.num_dates, seen.num_words) == (1, 3, 1, 9)
    assert (seen.low, seen.high, seen.rising) == (1.0, 9.0, False)
    assert seen.counts is None
    assert seen.no_number == (4, "yes")
    assert seen.no_date == (0, "1")


@pytest.mark.parametrize("values", [WORDS, ["1", "2", "3", "10"], ["a", "a", "b"], [None, None]])
@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_chunks_change_nothing(values: list[str | None], chunk: int) -> None:
    whole, parts = dataclasses.asdict(gathered(values, 100)), dataclasses.asdict(gathered(values, chunk))
    assert whole.pop("_last") == pytest.approx(parts.pop("_last"), nan_ok=True) or not whole["rising"]
    assert parts == whole


def test_the_sample_is_all_rows_while_they_are_few() -> None:
    sample = RowSample(1)
    sample.add({"x": np.array(["a", None], dtype=object)})
    sample.add({"x": np.array(["b"], dtype=object)})
    assert sample.columns()["x"].tolist() == ["a", None, "b"]


def test_a_large_sample_is_uniform_and_the_same_for_all_chunks() -> None:
    num_rows = 6 * SAMPLE_ROWS
    values = np.array([str(n) for n in range(num_rows)], dtype=object)
    found = []
    for chunk in (1000, 50_000):
        sample = RowSample(1)
        for start in range(0, num_rows, chunk):
            sample.add({"x": values[start : start + chunk]})
        found.append(sample.columns()["x"].astype(np.int64))
    assert (found[0] == found[1]).all()
    assert len(found[0]) == SAMPLE_ROWS
    assert (np.diff(found[0]) > 0).all()
    assert found[0].mean() == pytest.approx(num_rows / 2, rel=0.02)


def test_limits_shrink_with_the_number_of_columns() -> None:
    assert distinct_limit(1) == 20_000
    assert distinct_limit(400) == 5000
    assert distinct_limit(10**6) == 1000

from __future__ import annotations

import numpy as np

from flywheel.preprocessor.pipeline.duplicates import across, contradictory, first_equal, within


def digests(*values: int) -> np.ndarray:
    return np.array([[value % 3, value] for value in values], dtype=np.uint64).reshape(-1, 2)


def labels(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def test_first_equal_row_is_found_by_both_halves() -> None:
    assert first_equal(digests(4, 1, 4, 7, 1, 1)).tolist() == [0, 1, 0, 3, 1, 1]
    assert first_equal(digests()).tolist() == []
    rows = np.random.default_rng(0).integers(0, 30, (500, 2)).astype(np.uint64)
    expected = [next(i for i, other in enumerate(rows) if (other == row).all()) for row in rows]
    assert first_equal(rows).tolist() == expected


def test_within_looks_at_the_given_rows_only_and_tells_labels_apart() -> None:
    matches = within(np.array([1, 2, 3, 5]), digests(9, 4, 9, 4, 9, 9), labels(0, 1, 1, 1, 0, 0))
    assert matches.rows.tolist() == [3, 5]
    assert matches.equals.tolist() == [1, 2]
    assert matches.same_label.tolist() == [True, False]
    assert matches.to_json() == {"num_rows": 2, "other_label": 1, "dropped": 0, "first": [[3, 1], [5, 2]]}


def test_a_row_is_a_copy_of_any_earlier_row_with_its_label() -> None:
    matches = within(np.arange(4), digests(7, 7, 7, 7), labels(0, 1, 1, 0))
    assert matches.rows.tolist() == [1, 2, 3]
    assert matches.same_label.tolist() == [False, True, True]
    assert contradictory(digests(7, 7, 8, 8, 9), labels(0, 1, 1, 1, 0)).tolist() == [True, True, False, False, False]


def test_across_gives_the_other_splits_row_numbers() -> None:
    others, other_labels = digests(5, 8, 5, 7, 8), labels(0, 0, 0, 0, 1)
    own = np.array([0, 2, 3])
    matches = across(own, digests(5, 8, 8, 8), labels(0, 0, 1, 2), np.array([1, 3, 4]), others, other_labels)
    assert matches.rows.tolist() == [2, 3]
    assert matches.equals.tolist() == [1, 1]
    assert matches.same_label.tolist() == [True, False], "of the second of two equal rows, too"
    assert matches.num_others == 2


def test_only_the_first_pairs_are_named() -> None:
    matches = within(np.arange(300), digests(*[4] * 300), labels(*[0] * 300))
    assert matches.to_json()["num_rows"] == 299
    assert len(matches.to_json()["first"]) == 100

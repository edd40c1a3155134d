from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flywheel.modality.interactions.data.target import ItemTarget, best_items, item_order
from flywheel.project.errors import DataError


@pytest.fixture
def target() -> ItemTarget:
    made = ItemTarget(top_k=2)
    made.fit([pd.Series(["b", 7, "b"]), pd.Series(["a", 10.0, None])])
    return made


def test_items_are_ordered_by_frequency_then_by_identifier(target: ItemTarget) -> None:
    assert target.items == ["b", "7", "10", "a"]
    assert item_order({"x": 1, "2": 1, "10": 1, "y": 3}) == ["y", "2", "10", "x"]


def test_encode_gives_columns_and_refuses_items_that_train_lacks(target: ItemTarget) -> None:
    assert target.encode(pd.Series([10, "b", " a "])).tolist() == [2, 0, 3]
    with pytest.raises(DataError, match="row 5: item 'c' is in no train row"):
        target.encode(pd.Series(["b", "c"], index=[4, 5]))


def test_decode_gives_the_best_in_order_and_nothing_that_was_ruled_out(target: ItemTarget) -> None:
    answers = target.decode(np.array([[0.2, 0.5, 0.3, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    assert answers["label"].tolist() == ["7", "10", None]
    assert answers["items"].tolist() == [["7", "10"], ["10"], []]
    assert answers["scores"].tolist() == [[0.5, 0.3], [1.0], []]


def test_each_request_says_how_many_items_it_wants(target: ItemTarget) -> None:
    scores = np.tile([0.4, 0.3, 0.2, 0.1], (4, 1))
    answers = target.decode(scores, pd.DataFrame({"k": [1, "3", None, 9]}))
    assert answers["items"].map(len).tolist() == [1, 3, 2, 4]
    for bad in (0, 1.5, "many", True):
        with pytest.raises(DataError, match="not a whole number above 0"):
            target.decode(scores[:1], pd.DataFrame({"k": [bad]}, dtype=object))


def test_scores_of_another_catalogue_are_refused(target: ItemTarget) -> None:
    with pytest.raises(DataError, match="do not fit 4 items"):
        target.decode(np.zeros((2, 3)))


def test_of_equal_scores_the_lower_column_comes_first() -> None:
    assert best_items(np.array([0.1, 0.3, 0.3, 0.1, 0.2]), 4).tolist() == [1, 2, 4, 0]


def test_the_state_is_the_whole_target(target: ItemTarget) -> None:
    rebuilt = ItemTarget.from_json(target.to_json())
    assert rebuilt.to_json() == target.to_json()
    assert rebuilt.meta() == target.meta()
    with pytest.raises(DataError, match="not an ItemTarget"):
        ItemTarget.from_json({"items": []})


def test_missing_labels_are_named_and_one_item_is_no_catalogue() -> None:
    _, reasons = ItemTarget().clean(pd.Series(["a", None, " "]))
    assert reasons.isna().tolist() == [True, False, False]
    assert set(reasons.dropna()) == {"label is missing"}
    with pytest.raises(DataError, match="two are needed"):
        ItemTarget().fit([pd.Series(["a"])])

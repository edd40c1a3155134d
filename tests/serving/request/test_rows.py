"""The rows of a JSON body: what is missing, what is of another kind than the schema says."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from flywheel.modality.interactions.data.preprocessor import InteractionsPreprocessor
from flywheel.modality.tabular.data.preprocessor import TabularPreprocessor
from flywheel.modality.text.data.preprocessor import TextPreprocessor
from flywheel.modality.text.data.tokeniser.word import WordTokeniser
from flywheel.project.errors import DataError
from flywheel.serving.request.rows import RowReader

TABLE = pd.DataFrame({"age": [1.0, None, 3.0], "town": ["a", "b", "a"]})


def test_a_column_that_may_be_missing_is_given_as_null() -> None:
    inputs = TabularPreprocessor()
    inputs.fit([TABLE])
    reader = RowReader(inputs.schema(), 10)
    with pytest.raises(DataError, match=r"row 1: has no 'age'; give it; null where it is not known"):
        reader.rows({"instances": [{"age": 1, "town": "a"}, {"town": "a"}]})
    rows = reader.rows({"age": None, "town": None})
    inputs.transform(reader.frame(rows))
    with pytest.raises(DataError, match=r"has no 'text'; give it$"):
        RowReader(TextPreprocessor(WordTokeniser()).schema(), 10).rows({})


@pytest.mark.parametrize("value", [0, 1.5, 10**18, True, False])
def test_a_number_is_no_text(value: Any) -> None:
    reader = RowReader(TextPreprocessor(WordTokeniser(), column="review").schema(), 10)
    for body in ({"review": value}, {"instances": [{"review": "a"}, {"review": value}]}, {"instances": ["a", value]}):
        with pytest.raises(DataError, match=r"review is a (number|truth value), not a text; put it in quotes"):
            reader.rows(body)
    assert reader.rows({"review": "0"}) == [{"review": "0"}]


def test_where_a_number_and_its_text_mean_the_same_both_will_do() -> None:
    inputs = TabularPreprocessor()
    inputs.fit([TABLE])
    body = {"age": "3", "town": 7}
    assert RowReader(inputs.schema(), 10).rows(body) == [body]
    ask = {"user": 7, "history": [1, "2"]}
    assert RowReader(InteractionsPreprocessor().schema(), 10).rows(ask) == [ask]

from __future__ import annotations

import json

import numpy as np
import pytest

from flywheel.modality.text.data.tokeniser.bpe import BpeTokeniser
from flywheel.project.errors import DataError

TEXTS = ["low lower lowest", "new newer newest", "wide wider widest low new"] * 3


def fitted(chunk: int = 9) -> BpeTokeniser:
    made = BpeTokeniser(vocabulary_size=300)
    made.fit(TEXTS[start : start + chunk] for start in range(0, 9, chunk))
    return made


def test_frequent_pieces_are_one_token() -> None:
    made = fitted()
    assert made.vocabulary_size <= 300
    assert made.tokenise(["low new", "widest"]).lengths.tolist() == [2, 1]


def test_nothing_is_out_of_the_vocabulary() -> None:
    made = fitted()
    texts = ["low\u00e9 \U0001f600", "[PAD] [UNK]", "\u0928\u092e"]
    ids = made.encode(texts, 64)
    assert ids.dtype == np.int32
    assert not (ids == 1).any()
    assert [made.decode(row.tolist()) for row in ids] == texts


def test_training_is_deterministic_and_json_brings_it_back() -> None:
    made = fitted()
    state = json.loads(json.dumps(made.to_json()))
    assert state == fitted(chunk=2).to_json()
    again = BpeTokeniser.from_json(state)
    assert again.to_json() == state
    np.testing.assert_array_equal(again.encode(TEXTS, 8), made.encode(TEXTS, 8))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="vocabulary_size must be 258 or more"):
        BpeTokeniser(vocabulary_size=200)
    with pytest.raises(ValueError, match="min_count"):
        BpeTokeniser(min_count=0)
    with pytest.raises(DataError, match="no texts to learn from"):
        BpeTokeniser().fit([])
    with pytest.raises(DataError, match="fit it first"):
        BpeTokeniser().tokenise(["a"])

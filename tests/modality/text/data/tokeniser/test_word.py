from __future__ import annotations

import json

import numpy as np
import pytest

from flywheel.modality.text.data.tokeniser.word import WordTokeniser
from flywheel.project.errors import DataError

TEXTS = ["The cat sat.", "the dog doesn't sit!", "a cat, a dog, a cow"]


def fitted(**options: object) -> WordTokeniser:
    made = WordTokeniser(**options)  # type: ignore[arg-type]
    made.fit([TEXTS[:1], TEXTS[1:]])
    return made


def test_words_are_numbered_by_frequency_then_alphabet() -> None:
    made = fitted(punctuation="strip")
    assert made.words == ["a", "cat", "dog", "the", "cow", "doesn't", "sat", "sit"]
    assert made.vocabulary_size == 10
    assert made.encode(["the cow doesn't fly"], 6).tolist() == [[5, 6, 7, 1, 0, 0]]
    assert made.encode(["the"], 2).dtype == np.int32


def test_options_decide_what_a_word_is() -> None:
    assert fitted().words[:3] == ["a", ",", "cat"]
    assert "The" in fitted(lowercase=False).words
    assert fitted(vocabulary_size=4, punctuation="strip").words == ["a", "cat"]
    assert fitted(min_count=2, punctuation="strip").words == ["a", "cat", "dog", "the"]


def test_long_texts_are_cut_where_it_is_said() -> None:
    made = fitted(punctuation="strip")
    text = "a cat dog the cow"  # ids 2 3 4 5 6
    cut = {where: made.encode([text, "cat"], 3, where).tolist() for where in ("head", "tail", "head_tail")}
    assert cut == {"head": [[2, 3, 4], [3, 0, 0]], "tail": [[4, 5, 6], [3, 0, 0]], "head_tail": [[2, 3, 6], [3, 0, 0]]}


def test_chunks_do_not_matter_and_json_brings_it_back() -> None:
    one, other = fitted(), WordTokeniser()
    other.fit([[text] for text in TEXTS])
    state = json.loads(json.dumps(one.to_json()))
    assert state == other.to_json()
    again = WordTokeniser.from_json(state)
    assert again.to_json() == state
    np.testing.assert_array_equal(again.encode(TEXTS, 9), one.encode(TEXTS, 9))


def test_decoding_names_what_is_unknown() -> None:
    made = fitted()
    assert made.decode(made.encode(["The cow flew."], 8)[0].tolist()) == "the cow [UNK] ."


def test_texts_without_words_have_no_tokens() -> None:
    assert fitted(punctuation="strip").encode(["!!", "cat"], 2).tolist() == [[0, 0], [3, 0]]
    assert fitted().encode([], 4).shape == (0, 4)


def test_what_cannot_be_is_refused() -> None:
    for options in ({"vocabulary_size": 2}, {"punctuation": "drop"}, {"min_count": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            WordTokeniser(**options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="holds no words that occur 1 times"):
        WordTokeniser(punctuation="strip").fit([["!"]])
    with pytest.raises(DataError, match="fit it first"):
        WordTokeniser().encode(["a"], 2)

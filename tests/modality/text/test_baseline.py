from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from safetensors.numpy import save_file
from sklearn.feature_extraction.text import TfidfVectorizer

from flywheel.modality.text.baseline import (
    Tfidf,
    counts_of_pieces,
    counts_of_words,
    tfidf_logistic_regression,
    token_input,
)
from flywheel.project.errors import ConfigError
from flywheel.report.baseline import BaselineData
from flywheel.report.examples import Examples

INPUTS = {"tokens": {"dtype": "int32", "shape": [8], "padding": 0}}
META = {"inputs": INPUTS, "num_classes": 3}


def texts(num_rows: int, seed: int = 0) -> tuple[Any, Any]:
    """Classes 0 and 1 differ only in the order of two tokens, class 2 in a token."""
    random = np.random.default_rng(seed)
    tokens = random.integers(10, 30, (num_rows, 8)).astype(np.int32)
    target = np.arange(num_rows) % 3
    tokens[:, 2:4] = np.array([[2, 3], [3, 2], [4, 5]])[target]
    tokens[::4, 6:] = 0
    return tokens, target


@pytest.fixture
def data(tmp_path: Path) -> BaselineData:
    parts = {}
    for seed, (name, rows) in enumerate({"train": 240, "validation": 60, "test": 90}.items()):
        tokens, target = texts(rows, seed)
        file = tmp_path / f"{name}.safetensors"
        save_file({"tokens": tokens, "target": target.astype(np.int64), "row": np.arange(rows)}, file)
        parts[name] = Examples(file, INPUTS)
    return BaselineData(**parts, meta=META, preprocessor=cast(Any, None), max_rows=0, seed=0)


def test_it_learns_from_the_order_of_tokens(data: BaselineData) -> None:
    scores, note = tfidf_logistic_regression().predict(data)
    assert scores.shape == (90, 3)
    assert scores.sum(axis=1) == pytest.approx(1)
    assert (scores.argmax(axis=1) == data.test.target).mean() > 0.95
    assert note.startswith("TF-IDF and logistic regression were fitted on all 240 train rows with ")
    assert note.endswith("chosen by log-loss on validation.")


def test_a_subsample_is_stated_and_drawn_alike(data: BaselineData) -> None:
    small = BaselineData(**{**vars(data), "max_rows": 60})
    first, note = tfidf_logistic_regression().predict(small)
    assert "a stratified sample of 60 of the 240 train rows" in note
    np.testing.assert_array_equal(first, tfidf_logistic_regression().predict(small)[0])


def test_its_features_are_scikit_learn_s() -> None:
    tokens, _ = texts(50)
    words = [" ".join(f"w{one}" for one in row if one) for row in tokens]
    theirs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    expected = theirs.fit_transform(words)
    made = Tfidf(1, 10_000).fit(counts_of_words(tokens))
    assert made.shape == expected.shape
    np.testing.assert_allclose((made @ made.T).toarray(), (expected @ expected.T).toarray(), atol=1e-12)


def as_bytes(texts: list[str]) -> np.ndarray[Any, Any]:
    made = np.zeros((len(texts), 40), np.uint8)
    for row, text in zip(made, texts, strict=True):
        row[: len(text)] = np.frombuffer(text.encode(), np.uint8)
    return made


def test_its_pieces_of_words_are_scikit_learn_s() -> None:
    texts = ["a rose is a rose", "roses  are red", "", "x", "i am arisen, is it so?"]
    theirs = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    expected = theirs.fit_transform(texts)
    made = Tfidf(1, 10_000).fit(counts_of_pieces(as_bytes(texts)))
    assert made.shape == expected.shape
    np.testing.assert_allclose((made @ made.T).toarray(), (expected @ expected.T).toarray(), atol=1e-12)


def test_pieces_tell_of_words_that_train_has_not_seen(data: BaselineData, tmp_path: Path) -> None:
    """Tokens say nothing here; the endings of the words do, stored or read from the tokeniser."""

    class Endings:
        def decode(self, ids: list[int]) -> str:
            return f"word{ids[0] * 7919 % 1000}{('ing', 'ed', 's')[ids[1] - 1]}"

    preprocessor = type("", (), {"tokeniser": Endings()})()
    parts: dict[str, Examples] = {}
    for seed, (name, rows) in enumerate({"train": 240, "validation": 60, "test": 90}.items()):
        target = np.arange(rows) % 3
        tokens = np.stack([np.random.default_rng(seed).integers(10, 999, rows), target + 1], axis=1).astype(np.int32)
        file = tmp_path / f"{name}_endings.safetensors"
        save_file({"tokens": tokens, "target": target, "row": np.arange(rows)}, file)
        parts[name] = Examples(file, {"tokens": {**INPUTS["tokens"], "shape": [2]}})
    given = BaselineData(**{**vars(data), **parts, "preprocessor": cast(Any, preprocessor)})
    scores, note = tfidf_logistic_regression().predict(given)
    assert (scores.argmax(axis=1) == given.test.target).mean() > 0.95
    assert "pieces of words, of 2 to 5 bytes" in note
    assert "pieces of words" not in tfidf_logistic_regression(max_characters=10).predict(given)[1]


def test_rare_pairs_and_too_many_features_are_left_out() -> None:
    tokens, _ = texts(50)
    tfidf = Tfidf(2, 7)
    assert tfidf.fit(counts_of_words(tokens)).shape == (50, 7)
    assert tfidf.transform(counts_of_words(np.full((1, 8), 99, np.int32))).nnz == 0


def test_a_task_without_tokens_is_refused() -> None:
    assert token_input(META) == "tokens"
    with pytest.raises(ConfigError, match="is for one input of tokens, this task has 0"):
        token_input({"inputs": {"image": {"dtype": "uint8", "shape": [1, 8, 8]}}})
    with pytest.raises(ValueError, match="c must hold positive numbers"):
        tfidf_logistic_regression(c=[0])

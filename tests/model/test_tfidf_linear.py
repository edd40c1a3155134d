"""TF-IDF as scikit-learn has it; that padding and ONNX change nothing is in test_text_models.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from flywheel.model.tfidf_linear import TfidfLinear
from flywheel.project.errors import ModelError


def as_bytes(*texts: str) -> torch.Tensor:
    width = max(map(len, texts))
    return torch.tensor([[*text.encode(), *[0] * (width - len(text))] for text in texts], dtype=torch.uint8)


def test_values_are_scikit_learn_s() -> None:
    """One n-gram a column in both: sorted, because which row an n-gram is hashed into is this net's own."""
    texts = ["abc abc abc de", "de abc", "fgh fgh abcde", "abc"]
    net = TfidfLinear(20, 1, ngrams=2, character_ngrams=4)
    words = {word: place for place, word in enumerate(sorted({*" ".join(texts).split()}), start=2)}
    tokens = torch.zeros(4, 6, dtype=torch.int32)
    for row, text in enumerate(texts):
        ids = [words[word] for word in text.split()]
        tokens[row, : len(ids)] = torch.tensor(ids)
    assert net.pieces is not None
    for how, part, features in (
        ({"ngram_range": (1, 2)}, net.words, net.word_features(tokens)),
        ({"ngram_range": (2, 4), "analyzer": "char_wb"}, net.pieces, net.piece_features(as_bytes(*texts))),
    ):
        model = TfidfVectorizer(sublinear_tf=True, **how)
        expected = model.fit_transform(texts).toarray()
        places, counted = part.values(features)
        rows = [places[row][counted[row] > 0] for row in range(4)]
        assert all(len(found) == len(set(found.tolist())) for found in rows), "an n-gram has one value"
        for row, found in enumerate(rows):
            assert len(found) == (expected[row] > 0).sum()
        frequency = torch.bincount(torch.cat(rows), minlength=len(part.idf))
        part.idf.copy_(torch.log(5 / (1 + frequency)) + 1)
        part.idf[0] = 0
        _, values = part.values(features)
        for row in range(4):
            ours = np.sort(values[row][values[row] > 0].numpy())
            np.testing.assert_allclose(ours, np.sort(expected[row][expected[row] > 0]), rtol=1e-6)


def test_logits_are_weights_times_values() -> None:
    net = TfidfLinear(9, 2, ngrams=1)
    weight = net.words.table.weight
    length = ((1 + np.log(2)) ** 2 + 1) ** 0.5
    expected = (weight[5] * (1 + np.log(2)) + weight[7]) / length
    for tokens in ([5, 7, 5], [7, 5, 5, 0, 0]):
        torch.testing.assert_close(net(torch.tensor([tokens])), expected[None])
    assert net(torch.zeros(1, 3, dtype=torch.int32)).tolist() == [[0.0, 0.0]], "a text without a feature"


def test_pieces_do_not_reach_over_the_border_of_a_word() -> None:
    net = TfidfLinear(9, 1, character_ngrams=3)
    together, apart = net.piece_features(as_bytes("ab cd", "cd ab"))
    assert set(together.tolist()) == set(apart.tolist())
    assert len(set(together.tolist()) - {0}) == 2 * (3 + 2), "' a', 'ab', 'b ', ' ab' and 'ab ' of each word"


def test_pieces_need_characters() -> None:
    with pytest.raises(ModelError, match="num_characters"):
        TfidfLinear(9, 3, character_ngrams=3)(torch.tensor([[2]]))
    for given in ({"character_ngrams": 1}, {"character_ngrams": 9}, {"ngrams": 0}, {"buckets": 0}):
        with pytest.raises(ValueError, match="must be"):
            TfidfLinear(9, 3, **given)

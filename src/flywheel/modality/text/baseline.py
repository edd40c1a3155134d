"""TF-IDF and logistic regression over stored tokens and characters: what a text network has to beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from flywheel.modality.text.data.preprocessor import CHARACTERS
from flywheel.project.errors import ConfigError
from flywheel.project.types import Json
from flywheel.report.baseline import Baseline, BaselineData, one_class, stratified
from flywheel.report.bootstrap import Array
from flywheel.report.examples import Examples
from flywheel.report.logistic import Fit, Strengths, fit_logistic, rows_in_words

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CHUNK_ROWS = 2048


def tfidf_logistic_regression(
    c: Sequence[float] = (1.0, 3.0, 10.0),
    min_count: int = 2,
    max_features: int = 300_000,
    max_iterations: int = 100,
    tolerance: float = 1e-3,
    max_characters: int = 8_000_000,
) -> Baseline:
    """Logistic regression on TF-IDF of words, of pairs of neighbours, and of pieces of words (scikit-learn, L-BFGS).

    Weights are (1 + log tf) * (1 + log((1 + n) / (1 + df))), and the words and pairs of each row have length 1, as have
    its pieces (Salton & Buckley 1988).

    Args:
        c: Inverse strengths of the L2 penalty to try; validation log-loss chooses.
        min_count: Rows of train that a pair or a piece must occur in.
        max_features: Most tokens and pairs, and most pieces; the ones in most rows of train are kept.
        max_iterations: Most iterations of one fit.
        tolerance: Largest gradient at which a fit has converged.
        max_characters: Most bytes of train's texts whose pieces, of 2 to 5, are used; with more there are none.
    """
    tfidf = Tfidf(min_count, max_features), Tfidf(min_count, max_features)
    return TfidfLogisticRegression(Strengths(c, max_iterations, tolerance), *tfidf, max_characters)


class TfidfLogisticRegression(Baseline):
    """See `tfidf_logistic_regression`."""

    title: ClassVar[str] = "TF-IDF and logistic regression"

    def __init__(self, strengths: Strengths, words: Tfidf, pieces: Tfidf, max_characters: int) -> None:
        self._strengths, self._words, self._pieces = strengths, words, pieces
        self._max_characters = max_characters

    def predict(self, data: BaselineData) -> tuple[Array, str]:
        """Fit with the strength that validation likes best, and answer test."""
        name = token_input(data.meta)
        chosen = stratified(data.train.target, data.max_rows or data.train.num_rows, data.seed)
        target = data.train.target[chosen].astype(np.int64)
        if len(np.unique(target)) < 2:
            return one_class(data, target, "logistic regression")
        characters = characters_of(data, name)
        x = self._words.fit(counts_of_words(_stored(data.train, name, chosen)))
        text = np.zeros((0, 0), np.uint8) if characters is None else characters(data.train, chosen)
        if characters is None or np.count_nonzero(text) > self._max_characters:
            characters = None
        else:
            x = _side_by_side(x, self._pieces.fit(counts_of_pieces(text)))

        def features(part: Examples) -> csr_array:
            every = np.arange(part.num_rows)
            found = self._words.transform(counts_of_words(_stored(part, name, every)))
            if characters is None:
                return found
            return _side_by_side(found, self._pieces.transform(counts_of_pieces(characters(part, every))))

        check = None if data.validation is None else (features(data.validation), data.validation.target)
        fit = fit_logistic(x, target, check, self._strengths)
        return fit.scores(features(data.test), data.num_classes), self._note(data, len(chosen), fit)

    def _note(self, data: BaselineData, num_rows: int, fit: Fit) -> str:
        pieces = self._pieces.num_features
        also = f" and {pieces:,} pieces of words, of 2 to 5 bytes" if pieces else ""
        start = (
            f"TF-IDF and logistic regression were fitted on {rows_in_words(num_rows, data.train.num_rows)} with"
            f" {self._words.num_features:,} tokens and pairs of neighbouring tokens{also}, from the"
            f" same inputs that the network gets, and an {fit.penalty}."
        )
        return " ".join([start, *fit.warning])


class Tfidf:
    """Counts of tokens and pairs, or of pieces, as sparse rows.

    Args:
        min_count: Rows of train that a pair or a piece must occur in; tokens have been chosen by the tokeniser.
        max_features: Most columns.
    """

    def __init__(self, min_count: int, max_features: int) -> None:
        if min_count < 1 or max_features < 1:
            raise ValueError(f"min_count and max_features must be above 0, not {min_count} and {max_features}")
        self._min_count, self._max_features = min_count, max_features
        self._keys = np.zeros(0, np.int64)
        self._idf = np.zeros(0)

    @property
    def num_features(self) -> int:
        """Columns."""
        return len(self._keys)

    def fit(self, counts: Counts) -> csr_array:
        """Choose the columns by the rows that they occur in, and give train's rows."""
        found, in_rows = np.unique(counts.keys, return_counts=True)
        kept = (in_rows >= self._min_count) | (found < PAIR)
        found, in_rows = found[kept], in_rows[kept]
        first = np.sort(np.argsort(-in_rows, kind="stable")[: self._max_features])
        self._keys = found[first]
        self._idf = 1 + np.log((1 + counts.num_rows) / (1 + in_rows[first]))
        return self.transform(counts)

    def transform(self, counts: Counts) -> csr_array:
        """Give float64 rows of length 1 (or 0, where nothing is known)."""
        from scipy.sparse import csr_array
        from sklearn.preprocessing import normalize

        shape = counts.num_rows, len(self._keys)
        if not len(self._keys):
            return csr_array(shape)
        places = np.searchsorted(self._keys, counts.keys)
        known = self._keys[np.minimum(places, len(self._keys) - 1)] == counts.keys
        rows, places, number = counts.rows[known], places[known], counts.number[known]
        values = (1 + np.log(number)) * self._idf[places]
        made: csr_array = normalize(csr_array((values, (rows, places)), shape=shape))
        return made


@dataclass(frozen=True)
class Counts:
    """How often each key occurs in each row, by row and key.

    Attributes:
        num_rows: Rows, those without a key included.
        rows: int64 [M].
        keys: int64 [M].
        number: int64 [M].
    """

    num_rows: int
    rows: Array
    keys: Array
    number: Array


PAIR = 1 << 31
"""Keys below are token ids; a pair (a, b) has the key (a + 1) * PAIR + b."""
PIECES = (2, 3, 4, 5)


def counts_of_words(tokens: Array) -> Counts:
    """Count tokens and pairs.

    Args:
        tokens: int32 [N, L], 0 where there is none.
    """

    def keys(rows: Array) -> Array:
        ids = rows.astype(np.int64)
        pairs = np.where((ids[:, :-1] != 0) & (ids[:, 1:] != 0), (ids[:, :-1] + 1) * PAIR + ids[:, 1:], 0)
        return np.concatenate([ids, pairs], axis=1)

    return _counted(tokens, keys)


def counts_of_pieces(text: Array) -> Counts:
    """Count pieces of 2 to 5 bytes within words; a space stands before each word and after it, and is part of pieces.

    Args:
        text: uint8 [N, L], 0 where it has ended.
    """

    def keys(rows: Array) -> Array:
        padded = np.pad(rows, ((0, 0), (1, 1)))
        letters = np.where(padded == 0, ord(" "), padded).astype(np.int64)
        found = []
        for length in PIECES:
            width = letters.shape[1] - length + 1
            key = np.full((len(rows), width), length, np.int64)
            is_within, num_letters = np.ones(key.shape, bool), np.zeros(key.shape, np.int64)
            for place in range(length):
                one = letters[:, place : place + width]
                key = (key << 8) + one
                num_letters += one != ord(" ")
                if 0 < place < length - 1:
                    is_within &= one != ord(" ")
            found.append(np.where(is_within & (num_letters > 0), key + PAIR, 0))
        return np.concatenate(found, axis=1)

    return _counted(text, keys)


def _counted(values: Array, keys_of: Callable[[Array], Array]) -> Counts:
    """Count the keys of each row, a chunk of rows at a time; 0 is none."""
    found = []
    for start in range(0, len(values), CHUNK_ROWS):
        keys = np.sort(keys_of(values[start : start + CHUNK_ROWS]), axis=1)
        first = np.ones(keys.shape, bool)
        first[:, 1:] = keys[:, 1:] != keys[:, :-1]
        at = np.flatnonzero(first)
        number = np.diff(np.append(at, keys.size))
        key = keys.reshape(-1)[at]
        there = key != 0
        found.append((at[there] // keys.shape[1] + start, key[there], number[there]))
    return Counts(len(values), *(np.concatenate([piece[part] for piece in found]) for part in range(3)))


def token_input(meta: Json) -> str:
    """The name of the input that holds tokens: whole numbers with padding 0.

    Raises:
        ConfigError: There is none, or there are several.
    """
    names = [
        name for name, spec in meta["inputs"].items()
        if spec.get("padding") == 0 and spec["dtype"].startswith("int") and len(spec["shape"]) == 1
    ]  # fmt: skip
    if len(names) != 1:
        what = f"is for one input of tokens, this task has {len(names)}"
        raise ConfigError(what, where="evaluate.baselines", fix="use evaluate: classification")
    return str(names[0])


def characters_of(data: BaselineData, name: str) -> Callable[[Examples, Array], Array] | None:
    """What gives the text of some rows, uint8 [M, L]: as it is stored, or as the tokens say; None: nothing does."""
    if CHARACTERS in data.meta["inputs"]:
        return lambda part, index: _stored(part, CHARACTERS, index)
    tokeniser = getattr(data.preprocessor, "tokeniser", None)
    if tokeniser is None:
        return None

    def written(part: Examples, index: Array) -> Array:
        texts = [tokeniser.decode(ids.tolist()).lower().encode() for ids in _stored(part, name, index)]
        made = np.zeros((len(texts), max(map(len, texts), default=0) + 1), np.uint8)
        for row, text in zip(made, texts, strict=True):
            row[: len(text)] = np.frombuffer(text, np.uint8)
        return made

    return written


def _side_by_side(one: csr_array, other: csr_array) -> csr_array:
    from scipy.sparse import hstack

    made: csr_array = hstack([one, other], format="csr")
    return made


def _stored(part: Examples, name: str, index: Array) -> Array:
    """An input of some rows, [M, L]."""
    pieces = [part.inputs(index[at : at + CHUNK_ROWS])[name].numpy() for at in range(0, len(index), CHUNK_ROWS)]
    return np.concatenate(pieces)


BASELINES = (tfidf_logistic_regression,)
"""What a task may name in `evaluate.baselines`."""

"""TF-IDF and logistic regression over the stored tokens: the classical model that a text network has to beat."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from flywheel.project.errors import ConfigError
from flywheel.project.types import Json
from flywheel.report.baseline import Baseline, BaselineData, stratified
from flywheel.report.bootstrap import Array
from flywheel.report.examples import Examples

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CHUNK_ROWS = 2048


def tfidf_logistic_regression(
    c: Sequence[float] = (1.0, 3.0, 10.0),
    min_count: int = 2,
    max_features: int = 300_000,
    max_iterations: int = 100,
    tolerance: float = 1e-3,
) -> Baseline:
    """Logistic regression on TF-IDF of tokens and pairs of neighbours (scikit-learn, L-BFGS).

    Weights are (1 + log tf) * (1 + log((1 + n) / (1 + df))), and each row has length 1 (Salton & Buckley 1988).

    Args:
        c: Inverse strengths of the L2 penalty to try, ascending; validation log-loss chooses.
        min_count: Rows of train that a pair must occur in.
        max_features: Most tokens and pairs; the ones in most rows of train are kept.
        max_iterations: Most iterations of one fit.
        tolerance: Largest gradient at which a fit has converged.
    """
    if not c or any(strength <= 0 for strength in c):
        raise ValueError(f"c must hold positive numbers, not {list(c)}")
    return TfidfLogisticRegression(sorted(c), Tfidf(min_count, max_features), max_iterations, tolerance)


class TfidfLogisticRegression(Baseline):
    """See `tfidf_logistic_regression`."""

    name: ClassVar[str] = "tfidf_logistic_regression"
    title: ClassVar[str] = "TF-IDF and logistic regression"

    def __init__(self, strengths: list[float], tfidf: Tfidf, max_iterations: int, tolerance: float) -> None:
        self._strengths, self._tfidf = strengths, tfidf
        self._max_iterations, self._tolerance = max_iterations, tolerance

    def predict(self, data: BaselineData) -> tuple[Array, str]:
        """Fit with the strength that validation likes best, and answer test."""
        name = token_input(data.meta)
        chosen = stratified(data.train.target, data.max_rows or data.train.num_rows, data.seed)
        x, target = self._tfidf.fit(_tokens(data.train, name, chosen)), data.train.target[chosen].astype(np.int64)
        scores = np.zeros((data.test.num_rows, data.num_classes))
        if len(np.unique(target)) < 2:
            scores[:, target[0]] = 1.0
            return scores, "Train holds one class only, so logistic regression always answers it."
        fit, strength, converged = self._fit(data, name, x, target)
        test = self._tfidf.transform(_tokens(data.test, name, np.arange(data.test.num_rows)))
        scores[:, fit.classes_] = fit.predict_proba(test)
        return scores, self._note(data, len(chosen), strength, converged)

    def _fit(self, data: BaselineData, name: str, x: csr_array, target: Array) -> tuple[Any, float, bool]:
        """Try the strengths from the smallest on, while validation gains."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import log_loss

        check = None
        if data.validation is not None:
            every = np.arange(data.validation.num_rows)
            check = self._tfidf.transform(_tokens(data.validation, name, every)), data.validation.target
        tried: list[tuple[float, Any, float, bool]] = []
        for strength in self._strengths if check else self._strengths[len(self._strengths) // 2 :][:1]:
            fit = LogisticRegression(C=strength, max_iter=self._max_iterations, tol=self._tolerance)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                fit.fit(x, target)
            converged = not any(issubclass(item.category, ConvergenceWarning) for item in caught)
            loss = 0.0
            if check is not None:
                known = np.isin(check[1], fit.classes_)  # a class without train rows cannot be answered at any strength
                loss = log_loss(check[1][known], fit.predict_proba(check[0][known]), labels=fit.classes_)
            tried.append((loss, fit, strength, converged))
            if len(tried) > 1 and tried[-1][0] >= tried[-2][0]:
                break
        _, *best = min(tried, key=lambda one: one[0])
        return best[0], best[1], best[2]

    def _note(self, data: BaselineData, num_rows: int, strength: float, converged: bool) -> str:
        whole = data.train.num_rows
        sample = f"a stratified sample of {num_rows:,} of the {whole:,} train rows"
        rows = f"all {whole:,} train rows" if num_rows == whole else sample
        chosen = ", chosen by log-loss on validation" if data.validation is not None else ""
        words = [
            f"TF-IDF and logistic regression were fitted on {rows} with {self._tfidf.num_features:,} tokens and pairs"
            f" of neighbouring tokens, from the same ids that the network gets, and an L2 penalty of"
            f" C\u00a0=\u00a0{strength:g}{chosen}."
        ]
        if not converged:
            words.append(
                f"It stopped after {self._max_iterations} iterations before it had converged, so it may be slightly"
                " better than it looks here."
            )
        return " ".join(words)


class Tfidf:
    """Tokens and pairs of neighbours as sparse rows.

    Args:
        min_count: Rows of train that a pair must occur in; tokens have been chosen by the tokeniser.
        max_features: Maximum number of tokens and pairs.
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

    def fit(self, tokens: Array) -> csr_array:
        """Choose the columns by the rows that they occur in, and give train's rows.

        Args:
            tokens: int32 [N, L], 0 where there is none.
        """
        _, keys, _ = _counts(tokens)
        found, in_rows = np.unique(keys, return_counts=True)
        kept = (in_rows >= self._min_count) | (found < PAIR)
        found, in_rows = found[kept], in_rows[kept]
        first = np.sort(np.argsort(-in_rows, kind="stable")[: self._max_features])
        self._keys = found[first]
        self._idf = 1 + np.log((1 + len(tokens)) / (1 + in_rows[first]))
        return self.transform(tokens)

    def transform(self, tokens: Array) -> csr_array:
        """Give float64 rows of length 1 (or 0, where nothing is known)."""
        from scipy.sparse import csr_array
        from sklearn.preprocessing import normalize

        rows, keys, counts = _counts(tokens)
        places = np.searchsorted(self._keys, keys)
        known = self._keys[np.minimum(places, len(self._keys) - 1)] == keys
        rows, places, counts = rows[known], places[known], counts[known]
        values = (1 + np.log(counts)) * self._idf[places]
        x = csr_array((values, (rows, places)), shape=(len(tokens), len(self._keys)))
        made: csr_array = normalize(x)
        return made


PAIR = 1 << 31
"""Keys below are token ids; a pair (a, b) has the key (a + 1) * PAIR + b."""


def _counts(tokens: Array) -> tuple[Array, Array, Array]:
    """How often each token and pair occurs in each row: row, key and count, by row and key."""
    pieces = []
    for start in range(0, len(tokens), CHUNK_ROWS):
        ids = tokens[start : start + CHUNK_ROWS].astype(np.int64)
        pairs = np.where((ids[:, :-1] != 0) & (ids[:, 1:] != 0), (ids[:, :-1] + 1) * PAIR + ids[:, 1:], 0)
        keys = np.sort(np.concatenate([ids, pairs], axis=1), axis=1)
        first = np.ones(keys.shape, bool)
        first[:, 1:] = keys[:, 1:] != keys[:, :-1]
        at = np.flatnonzero(first)
        number = np.diff(np.append(at, keys.size))
        found = keys.reshape(-1)[at]
        there = found != 0
        pieces.append((at[there] // keys.shape[1] + start, found[there], number[there]))
    rows, keys, counts = (np.concatenate([piece[part] for piece in pieces]) for part in range(3))
    return rows, keys, counts


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
        raise ConfigError(what, where="evaluate.baseline", fix="use evaluate: classification")
    return str(names[0])


def _tokens(part: Examples, name: str, index: Array) -> Array:
    """The ids of some rows, int32 [M, L]."""
    pieces = [part.inputs(index[at : at + CHUNK_ROWS])[name].numpy() for at in range(0, len(index), CHUNK_ROWS)]
    return np.concatenate(pieces)


BASELINES = (tfidf_logistic_regression,)
"""What a task may name: `evaluate.baseline`."""

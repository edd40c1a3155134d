"""Explanations: how an answer changes when a part of its row is hidden.

A row goes the whole way of a prediction again without each part: what is explained is what is served, quantised or not,
and no gradient is wanted, which ONNX Runtime could not give. Occlusion of pictures is that of Zeiler and Fergus 2014
("Visualizing and understanding convolutional networks"), leaving out words that of Li, Monroe and Jurafsky 2016
("Understanding neural networks through representation erasure").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from flywheel.project.types import Json
from flywheel.registry.predictor import Predictor
from flywheel.serving.row import Array, parts_of

TINY = 1e-12
ROWS = 16
"""Scored at a time."""


@dataclass(frozen=True)
class Explained:
    """What each part is worth.

    Attributes:
        label: The answer that is explained.
        value: Probability, score or number of the answer to the whole row.
        measure: Kind of the value: `probability`, `score` or `number`.
        groups: A mapping an input: `kind`, `form` (what draws it), `about`, and a list entry a part: `weights` (what
            the answer loses without it: log-odds of a probability, else units of the value; below 0 it speaks against
            the answer), and `without` (the value when the part is hidden).
    """

    label: Any
    value: float
    measure: str
    groups: list[Json]

    def to_json(self) -> Json:
        """Plain data."""
        return {"label": self.label, "value": self.value, "measure": self.measure, "groups": self.groups}


def explain(predictor: Predictor, frame: pd.DataFrame, proceed: Callable[[], None] = lambda: None) -> Explained:
    """Explain the answer to a row.

    Args:
        predictor: The predictor of the version.
        frame: One raw row.
        proceed: Called before each few rows; raises what ends the work, where nobody waits for it any more.

    Raises:
        DataError: The row cannot be used.
    """
    proceed()
    whole = predictor.scores(frame)
    proceed()
    answer = predictor.preprocessor.answers(whole, frame)
    groups = [part for part in parts_of(predictor.preprocessor.inputs, frame) if len(part.frame)]
    told = _Answer(whole[0])
    shown = []
    for group in groups:
        values, losses = told.without(_scores(predictor, group.frame, proceed))
        shown.append(
            {
                "input": group.input,
                "kind": group.kind,
                "form": group.form,
                "about": group.about,
                "weights": _each(group.hides, losses),
                "without": _each(group.hides, values),
            }
        )
    label = answer["label"][0]
    return Explained(label.item() if isinstance(label, np.generic) else label, told.value, told.measure, shown)


def _scores(predictor: Predictor, frame: pd.DataFrame, proceed: Callable[[], None]) -> Array:
    found = []
    for start in range(0, len(frame), ROWS):
        proceed()
        found.append(predictor.scores(frame.iloc[start : start + ROWS]))
    return np.concatenate(found)


class _Answer:
    """The score that a row's answer was given for."""

    def __init__(self, scores: Array) -> None:
        self._place = int(scores.argmax()) if scores.ndim else None
        # Classes share a mass of 1; items of a catalogue each have a score of their own.
        shares = scores.ndim == 1 and bool((scores >= 0).all()) and abs(float(scores.sum()) - 1) < 1e-3
        self.measure = "number" if self._place is None else "probability" if shares else "score"
        self.value = float(scores if self._place is None else scores[self._place])
        self._scores = scores

    def without(self, scores: Array) -> tuple[Array, Array]:
        """Give the answer's value in each row, and how much less it is than in the whole row, float64 [N] each."""
        found = np.asarray(scores, np.float64)
        if self._place is None:
            return found, self.value - found
        values = found[:, self._place]
        if self.measure == "score":
            return values, self.value - values
        whole = np.asarray(self._scores, np.float64)[None]
        return values, (_log_odds(whole, self._place) - _log_odds(found, self._place))


def _log_odds(shares: Array, place: int) -> Array:
    """Of one class, from the sum of the others: 1 less its own share would be 0 in float32 where it is sure."""
    others = np.delete(shares, place, axis=1).sum(axis=1)
    odds: Array = np.log(np.maximum(shares[:, place], TINY)) - np.log(np.maximum(others, TINY))
    return odds


def _each(hides: Array, values: Array) -> list[float]:
    """A part's value: the mean over the rows that hide it."""
    number = hides.sum(axis=0)
    return [float(value) for value in (hides * values[:, None]).sum(axis=0) / np.maximum(1, number)]

"""A target that is a number: stored in units of its deviation, answered in its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from flywheel.preprocessor.base import target_name
from flywheel.preprocessor.target import MISSING, Target
from flywheel.preprocessor.values import ValueRules, numbers_of, texts_of
from flywheel.project.errors import DataError
from flywheel.project.types import Json
from flywheel.reader.format.value import object_column

Array = np.ndarray[Any, Any]

NORMALISE = ("standard", "none")
NO_DEVIATION = 1e-12  # of the largest value, below which a target is constant but for rounding


class NumberTarget(Target):
    """A number.

    Args:
        normalise: `standard` (the network learns the target with mean 0 and deviation 1 over train) or `none`.
        log1p: Whether the logarithm of 1 + label is learnt, for labels of 0 and more that spread over magnitudes.
        thousands: Character between groups of digits; None: there is none.
        decimal: Character before the fraction.
    """

    stratified: ClassVar[bool] = False

    def __init__(
        self, normalise: str = "standard", log1p: bool = False, thousands: str | None = None, decimal: str = "."
    ) -> None:
        if normalise not in NORMALISE:
            raise ValueError(f"normalise must be one of {', '.join(NORMALISE)}, not '{normalise}'")
        self.normalise, self.log1p = normalise, bool(log1p)
        self._rules = ValueRules(thousands=thousands, decimal=decimal)
        self._rules.check("preprocess.target")
        self.mean, self.std = 0.0, 1.0

    def fit(self, chunks: Iterable[pd.Series]) -> None:
        """Learn mean and deviation of train; 8 bytes a row are held, so that chunks change no bit of them.

        Raises:
            DataError: Train holds no labels, or all are the same and are to be scaled.
        """
        parts = [self._forward(self._numbers(labels)) for labels in chunks]
        values = np.concatenate(parts) if parts else np.empty(0)
        if not values.size or np.isnan(values).any():
            raise DataError("train", None, "holds no labels to learn from, or some of them are not numbers")
        if self.normalise == "none":
            return
        mean, std = float(values.mean()), float(values.std())
        if std <= NO_DEVIATION * max(1.0, float(np.abs(values).max())):
            why = f"every label is {values[0]:g}, so there is nothing to learn"
            raise DataError("train", None, why, fix="fix the label's column, or set preprocess.target.normalise: none")
        self.mean, self.std = mean, std

    def clean(self, labels: pd.Series) -> tuple[pd.Series, pd.Series]:
        """Make numbers of all labels; missing ones, and what is not a finite number, cannot be used."""
        texts = texts_of(labels, self._rules)
        values = numbers_of(texts, self._rules)
        reasons: list[str | None] = []
        for text, value in zip(texts.tolist(), values.tolist(), strict=True):
            if text is None:
                reasons.append(MISSING)
            elif value != value:
                reasons.append(f"label '{text[:40]}' is not a finite number")
            elif self.log1p and value < 0:
                reasons.append(f"label {text} is below 0, and log1p is set")
            else:
                reasons.append(None)
        return pd.Series(values, index=labels.index), pd.Series(object_column(reasons), labels.index, dtype=object)

    def encode(self, labels: pd.Series) -> Array:
        """Give each label as the network learns it, float32 [N]."""
        values, reasons = self.clean(labels)
        bad = reasons.notna().to_numpy()
        if bad.any():
            at = int(bad.argmax())
            row = labels.index[at]
            raise DataError("labels", int(row) if isinstance(row, int | np.integer) else None, str(reasons.iloc[at]))
        return ((self._forward(values.to_numpy()) - self.mean) / self.std).astype(np.float32)

    def answers(self, scores: Array, requests: pd.DataFrame | None = None) -> dict[str, Array]:
        """Give `label`: the number, in the target's own units, as the link gives it."""
        scores = np.asarray(scores)
        if scores.ndim != 1:
            raise DataError("scores", None, f"scores of shape {list(scores.shape)} are not one number a row")
        return {"label": scores.astype(np.float64)}

    def meta(self) -> Json:
        """`target`, `num_outputs`, and what a link needs to give the target's own units."""
        return {
            "target": {"kind": "number", "dtype": "float32"},
            "num_outputs": 1,
            "target_mean": self.mean,
            "target_std": self.std,
            "target_log1p": self.log1p,
        }

    def to_json(self) -> Json:
        """The arguments, and what was learnt."""
        return {
            "_target_": target_name(type(self)), "normalise": self.normalise, "log1p": self.log1p,
            "thousands": self._rules.thousands, "decimal": self._rules.decimal, "mean": self.mean, "std": self.std,
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: Json) -> NumberTarget:
        """Rebuild a fitted target."""
        try:
            made = cls(state["normalise"], state["log1p"], state["thousands"], state["decimal"])
            made.mean, made.std = float(state["mean"]), float(state["std"])
        except (KeyError, TypeError, ValueError) as error:
            why = f"its target is not a NumberTarget's: {error!r}"
            raise DataError("preprocessor.json", None, why, fix="run the preprocess stage again") from None
        return made

    def _numbers(self, labels: pd.Series) -> Array:
        return numbers_of(texts_of(labels, self._rules), self._rules)

    def _forward(self, values: Array) -> Array:
        return np.log1p(values) if self.log1p else values

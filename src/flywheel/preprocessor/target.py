"""Targets: from the labels of rows to what a loss takes, and from a network's scores back to labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from flywheel.preprocessor.base import target_name
from flywheel.project.errors import DataError, nearest
from flywheel.project.types import Json
from flywheel.reader.format.value import name_of, names_of

MISSING = "label is missing"


class Target(ABC):
    """Encodes labels and decodes scores.

    Attributes:
        stratified: Whether labels are groups (classes) that every split must hold in the same shares.
    """

    stratified: ClassVar[bool] = False

    @abstractmethod
    def fit(self, chunks: Iterable[pd.Series]) -> None:
        """Learn from the training labels."""

    @abstractmethod
    def clean(self, labels: pd.Series) -> tuple[pd.Series, pd.Series]:
        """Normalise labels.

        Returns:
            The labels, and why each cannot be used (None where it can); both with the index of `labels`.
        """

    @abstractmethod
    def encode(self, labels: pd.Series) -> np.ndarray[Any, Any]:
        """Give what the loss takes, [N].

        Raises:
            DataError: A label is missing or not known.
        """

    @abstractmethod
    def answers(
        self, scores: np.ndarray[Any, Any], requests: pd.DataFrame | None = None
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Give the answer of each row of scores: the column `label`, and others that say how sure it is, [N] each.

        A server, which answers a row at a time, has no use for a frame of them: it would cost more than the model.

        Args:
            scores: [N, ...], as the network's link gives them.
            requests: The rows that were scored, where there are any: a request may say how it is to be answered.
        """

    def decode(self, scores: np.ndarray[Any, Any], requests: pd.DataFrame | None = None) -> pd.DataFrame:
        """Give `answers` as a frame."""
        return pd.DataFrame(self.answers(scores, requests))

    @abstractmethod
    def meta(self) -> Json:
        """Settings for the network: `target` (kind and dtype), and flat keys such as `num_classes`."""

    @abstractmethod
    def to_json(self) -> Json:
        """The settings and everything learnt, with `_target_`."""

    @classmethod
    @abstractmethod
    def from_json(cls, state: Json) -> Target:
        """Rebuild what `to_json` described."""


class ClassTarget(Target):
    """One of several classes, known by name.

    Args:
        classes: The classes in order; None: sorted, as found in train (as numbers, where all are numbers).
    """

    stratified: ClassVar[bool] = True

    def __init__(self, classes: Sequence[str] | None = None) -> None:
        self._given = None if classes is None else [name_of(name) or "" for name in classes]
        if self._given is not None and len(set(self._given)) < max(2, len(self._given)):
            raise ValueError("classes must be two different names or more")
        self._classes = list(self._given or [])

    @property
    def classes(self) -> list[str]:
        """The names, in the order of their codes; empty before `fit` unless they were given."""
        return list(self._classes)

    def fit(self, chunks: Iterable[pd.Series]) -> None:
        """Find the classes; given ones must all occur."""
        found: set[str] = set()
        for labels in chunks:
            found.update(name for name in _names(labels).dropna().unique())
        absent = [name for name in self._given or [] if name not in found]
        if absent:
            why = f"class '{absent[0]}' has no rows in train"
            raise DataError("train", None, why, fix="fix preprocess.target.classes")
        if len(found) < 2:
            raise DataError("train", None, f"holds {len(found)} classes; two are needed to tell apart")
        self._classes = self._given or sorted(found, key=_class_order(found))

    def clean(self, labels: pd.Series) -> tuple[pd.Series, pd.Series]:
        """Make names of all labels; missing ones, and ones outside given classes, cannot be used."""
        names = _names(labels)
        reasons = pd.Series(None, index=labels.index, dtype=object)
        reasons[names.isna()] = MISSING
        if self._given is not None:
            strange = names.notna() & ~names.isin(self._given)
            reasons[strange] = names[strange].map(lambda name: f"label '{name}' is not one of the classes")
        return names, reasons

    def encode(self, labels: pd.Series) -> np.ndarray[Any, Any]:
        """Give each label's place among the classes, int64."""
        names = _names(labels)
        known = pd.Index([name_of(name) for name in self._classes], dtype=object)
        codes = np.asarray(known.get_indexer(pd.Index(names, dtype=object)))
        if (codes < 0).any():
            at = int((codes < 0).argmax())
            name = names.iloc[at]
            why = MISSING if pd.isna(name) else f"class '{name}' is not known"
            raise DataError("labels", _row_number(labels.index[at]), why, fix=nearest(str(name), self._classes))
        return codes.astype(np.int64)

    def answers(
        self, scores: np.ndarray[Any, Any], requests: pd.DataFrame | None = None
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Give `label`, its `probability`, and `probability_<class>` of every class."""
        scores = np.asarray(scores)
        if scores.ndim != 2 or scores.shape[1] != len(self._classes):
            why = f"scores of shape {list(scores.shape)} do not fit {len(self._classes)} classes"
            raise DataError("scores", None, why)
        best = scores.argmax(axis=1)
        columns: dict[str, Any] = {
            "label": np.array(self._classes, dtype=object)[best],
            "probability": scores[np.arange(len(scores)), best],
        }
        columns.update({f"probability_{name}": scores[:, code] for code, name in enumerate(self._classes)})
        return columns

    def meta(self) -> Json:
        """`target`, `classes`, `num_classes` and, the same, `num_outputs`."""
        return {
            "target": {"kind": "class", "dtype": "int64"},
            "classes": self.classes,
            "num_classes": len(self._classes),
            "num_outputs": len(self._classes),
        }

    def to_json(self) -> Json:
        """The classes, in order."""
        return {"_target_": target_name(type(self)), "classes": self.classes}

    @classmethod
    def from_json(cls, state: Json) -> ClassTarget:
        """Rebuild from the classes, which are called as they were when the model learnt them."""
        classes = state.get("classes")
        if not isinstance(classes, list) or len(classes) < 2:
            raise DataError("preprocessor.json", None, "its target has no list of classes")
        made = cls(classes)
        made._classes = [str(name) for name in classes]  # versions from before names had one form hold others
        return made


def _names(labels: pd.Series) -> pd.Series:
    """Labels as names, None where missing."""
    return pd.Series(names_of(labels), index=labels.index, dtype=object)


def _class_order(names: Iterable[str]) -> Callable[[str], Any]:
    if all(name.isascii() and name.isdigit() for name in names):
        return lambda name: (int(name), name)  # "7" and "07" are two names
    return str


def _row_number(label: Any) -> int | None:
    return int(label) if isinstance(label, int | np.integer) else None

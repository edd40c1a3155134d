"""The item that a user takes next: one column of scores an item of the catalogue, and a list of the best as answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from flywheel.modality.interactions.data.table import identifiers, index_of
from flywheel.preprocessor.base import target_name
from flywheel.preprocessor.target import MISSING, Target
from flywheel.project.errors import DataError, nearest
from flywheel.project.types import Json
from flywheel.reader.format.value import object_column


class ItemTarget(Target):
    """An item, known by its identifier; the catalogue is every item that is a label in train.

    Column j of the scores is the j-th item of `item_order`; in a history the same item has the code j + 1.

    Args:
        top_k: Items of an answer, where a request does not say `k`.
    """

    def __init__(self, top_k: int = 10) -> None:
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {top_k}")
        self.top_k = top_k
        self._items: list[str] = []

    @property
    def items(self) -> list[str]:
        """The catalogue, in the order of the columns; empty before `fit`."""
        return list(self._items)

    @property
    def num_items(self) -> int:
        """The size of the catalogue."""
        return len(self._items)

    def fit(self, chunks: Iterable[pd.Series]) -> None:
        """Find the items.

        Raises:
            DataError: There are fewer than two.
        """
        counts: Counter[str] = Counter()
        for labels in chunks:
            count_items(counts, labels)
        self._items = item_order(counts)
        if len(self._items) < 2:
            raise DataError("train", None, f"holds {len(self._items)} items; two are needed to rank")

    def clean(self, labels: pd.Series) -> tuple[pd.Series, pd.Series]:
        """Make identifiers of all labels; missing ones cannot be used."""
        names = pd.Series(object_column(identifiers(labels)), index=labels.index, dtype=object)
        reasons = pd.Series(None, index=labels.index, dtype=object)
        reasons[names.isna()] = MISSING
        return names, reasons

    def encode(self, labels: pd.Series) -> np.ndarray[Any, Any]:
        """Give each item's column, int64."""
        names = identifiers(labels)
        codes = np.asarray(index_of(self._items).get_indexer(pd.Index(names, dtype=object)))
        if (codes < 0).any():
            at = int((codes < 0).argmax())
            why = MISSING if names[at] is None else f"item '{names[at]}' is in no train row"
            raise DataError("labels", int(labels.index[at]), why, fix=nearest(str(names[at]), self._items))
        return codes.astype(np.int64)

    def answers(
        self, scores: np.ndarray[Any, Any], requests: pd.DataFrame | None = None
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Give `label` (the best item), `items` (the k best, in order) and `scores` (theirs).

        Items that the network ruled out, those of the history, have the score 0 and are never given: a list may be
        shorter than k, and `label` is None where nothing is left. Of equal scores the item that is more frequent in
        train comes first.

        Args:
            scores: [N, num_items], shares that add up to 1.
            requests: A column `k` says how many items each row wants; without it, or where it is empty, `top_k`.

        Raises:
            DataError: The scores do not fit the catalogue, or a k is not a whole number above 0.
        """
        scores = np.asarray(scores)
        if scores.ndim != 2 or scores.shape[1] != len(self._items):
            why = f"scores of shape {list(scores.shape)} do not fit {len(self._items)} items"
            raise DataError("scores", None, why)
        wanted = self._wanted(len(scores), requests)
        names = np.array(self._items, dtype=object)
        best = [best_items(row, k) for row, k in zip(scores, wanted, strict=True)]
        return {
            "label": object_column([names[codes[0]] if len(codes) else None for codes in best]),
            "items": object_column([names[codes].tolist() for codes in best]),
            "scores": object_column([row[codes].tolist() for row, codes in zip(scores, best, strict=True)]),
        }

    def decode(self, scores: np.ndarray[Any, Any], requests: pd.DataFrame | None = None) -> pd.DataFrame:
        """Give `answers` as a frame of objects: pandas would make NaN of None in an array of texts."""
        answers = self.answers(scores, requests)
        return pd.DataFrame({name: pd.Series(column, dtype=object) for name, column in answers.items()})

    def meta(self) -> Json:
        """`target`, `items`, `num_items` and, the same, `num_outputs`."""
        return {
            "target": {"kind": "item", "dtype": "int64"},
            "items": self.items,
            "num_items": len(self._items),
            "num_outputs": len(self._items),
        }

    def to_json(self) -> Json:
        """The argument, and the items in order."""
        return {"_target_": target_name(type(self)), "top_k": self.top_k, "items": self.items}

    @classmethod
    def from_json(cls, state: Json) -> ItemTarget:
        """Rebuild from the items."""
        items, top_k = state.get("items"), state.get("top_k")
        if not isinstance(items, list) or len(items) < 2 or not isinstance(top_k, int):
            raise DataError("preprocessor.json", None, "its target is not an ItemTarget's", fix="preprocess again")
        made = cls(top_k)
        made._items = list(map(str, items))
        return made

    def _wanted(self, num_rows: int, requests: pd.DataFrame | None) -> list[int]:
        """How many items each row is to get."""
        if requests is None or "k" not in requests.columns:
            return [self.top_k] * num_rows
        found = []
        for row, given in zip(requests.index, requests["k"], strict=True):
            known = isinstance(given, int | float | str | np.number) and not isinstance(given, bool)
            absent = given is None or (known and (given == "" or given != given))
            k = pd.to_numeric(self.top_k if absent else given, errors="coerce") if absent or known else np.nan
            if not float(k).is_integer() or k < 1:
                raise DataError("request", int(row), f"k '{given}' is not a whole number above 0", fix="give 1 or more")
            found.append(int(k))
        return found


def best_items(scores: np.ndarray[Any, Any], k: int) -> np.ndarray[Any, Any]:
    """The columns of the k highest scores above 0, in order; of equal ones the lower column first."""
    if k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        places = np.flatnonzero(scores >= least)
    else:
        places = np.arange(len(scores))
    places = places[scores[places] > 0]
    found: np.ndarray[Any, Any] = places[np.argsort(-scores[places], kind="stable")][:k]
    return found


def count_items(counts: Counter[str], labels: pd.Series) -> None:
    """Add the labels of a chunk of train rows to the counts; missing ones are left out."""
    counts.update(name for name in identifiers(labels) if name is not None)


def item_order(counts: Mapping[str, int]) -> list[str]:
    """The catalogue's order, the same for inputs and target: the most frequent first, then by identifier."""
    return sorted(counts, key=lambda name: (-counts[name], natural(name)))


def natural(name: str) -> tuple[bool, int, str]:
    """A key that sorts identifiers which are numbers by their value, and before others."""
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name

"""Statistics of a column's values, gathered in one pass over train, in memory that does not grow with its rows.

Counts are exact. Quantiles, means and deviations come from a sample of rows: all of them up to `SAMPLE_ROWS`, and else
those with the smallest hashes of their numbers (Cohen & Kaplan 2007, "Summarizing data using bottom-k sketches"), so
that it is uniform, and the same however the rows are cut into chunks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from flywheel.preprocessor.values import ValueRules, booleans_of, days_of, numbers_of

Array = np.ndarray[Any, Any]

SAMPLE_ROWS = 32_768
SAMPLE_CELLS = 4_000_000
DISTINCT_CELLS = 2_000_000
MAX_DISTINCT = 20_000
"""Distinct values of a column that are counted one by one; with more, it is not a category."""
_LEADING_ZERO = re.compile(r"[+-]?0\d")
_PAIRS = tuple(map(frozenset, ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"}, {"on", "off"})))


@dataclass
class ColumnEvidence:
    """Statistics of one column.

    Attributes:
        max_distinct: Distinct values that are counted at most.
        rules: Format of the values.
        num_rows: Number of rows seen.
        num_missing: Missing values among them.
        num_numbers: Values that are numbers.
        num_fractions: Numbers that are not whole.
        num_codes: Numbers with a leading zero.
        low: Smallest number.
        high: Largest number.
        num_booleans: Values that are truth values in words.
        num_dates: Values that are dates and no numbers.
        num_words: Number of words in all values.
        counts: The counts of each distinct value; None: there are more than `max_distinct`.
        rising: Whether whole numbers rise from each row to the next: then they number the rows.
        no_number: The first row, by its number in the file, with a value that is not a number, and the value.
        no_date: The first row with a value that is not a date, and the value.
    """

    max_distinct: int
    rules: ValueRules
    num_rows: int = 0
    num_missing: int = 0
    num_numbers: int = 0
    num_fractions: int = 0
    num_codes: int = 0
    low: float = np.inf
    high: float = -np.inf
    num_booleans: int = 0
    num_dates: int = 0
    num_words: int = 0
    counts: dict[str, int] | None = field(default_factory=dict)
    rising: bool = True
    no_number: tuple[int, str] | None = None
    no_date: tuple[int, str] | None = None
    _last: float = -np.inf

    @property
    def num_present(self) -> int:
        """Values that are not missing."""
        return self.num_rows - self.num_missing

    @property
    def pair(self) -> bool:
        """Whether the values are one pair of truth values, such as yes and no."""
        return self.counts is not None and any({text.lower() for text in self.counts} <= pair for pair in _PAIRS)

    def add(self, texts: Array, rows: Array) -> None:
        """Add the values of more rows.

        Args:
            texts: Output of `texts_of`.
            rows: Number of each row in the file.
        """
        places, distinct = pd.factorize(texts)  # each distinct value is looked at once
        here = places >= 0
        times = np.bincount(places[here], minlength=len(distinct))
        self.num_rows += len(texts)
        self.num_missing += int((~here).sum())
        if not len(distinct):
            return
        words = np.asarray(distinct, dtype=object)
        numbers = numbers_of(words, self.rules)
        self._add_numbers(words, numbers, times)
        self._add_rising(numbers, places)
        self._add_words(words, times)
        bad = np.isnan(numbers)
        if self.no_number is None and bad.any():
            self.no_number = _first(bad, places, rows, words)
        no_date = np.ones(len(words), dtype=bool)  # a number may look like a date: 20240131
        if bad.any():
            no_date[bad] = np.isnan(days_of(words[bad], self.rules))
        self.num_dates += int(times[~no_date].sum())
        if self.no_date is None and no_date.any():
            self.no_date = _first(no_date, places, rows, words)

    def _add_numbers(self, words: Array, numbers: Array, times: Array) -> None:
        good = ~np.isnan(numbers)
        self.num_numbers += int(times[good].sum())
        if not good.any():
            return
        fractions = good & (numbers != np.floor(numbers))
        self.num_fractions += int(times[fractions].sum())
        codes = [bool(_LEADING_ZERO.match(word)) for word in words[good & ~fractions]]
        self.num_codes += int(times[good & ~fractions][codes].sum())
        self.low, self.high = min(self.low, float(np.nanmin(numbers))), max(self.high, float(np.nanmax(numbers)))

    def _add_rising(self, numbers: Array, places: Array) -> None:
        if not self.rising:
            return
        in_order = np.concatenate([[self._last], np.where(places >= 0, numbers[places], np.nan)])
        self.rising = bool((np.diff(in_order) > 0).all())  # false for NaN
        self._last = float(in_order[-1])

    def _add_words(self, words: Array, times: Array) -> None:
        self.num_words += sum(len(word.split()) * int(number) for word, number in zip(words, times, strict=True))
        self.num_booleans += int(times[~np.isnan(booleans_of(words))].sum())
        if self.counts is None:
            return
        for word, number in zip(words.tolist(), times.tolist(), strict=True):
            self.counts[word] = self.counts.get(word, 0) + number
        if len(self.counts) > self.max_distinct:
            self.counts = None


def _first(chosen: Array, places: Array, rows: Array, words: Array) -> tuple[int, str]:
    """The first row whose distinct value is among the chosen."""
    at = int(np.flatnonzero((places >= 0) & chosen[places])[0])
    return int(rows[at]), str(words[places[at]])


class RowSample:
    """Rows with the smallest hashes of their numbers: a uniform sample that no cut into chunks changes.

    Args:
        num_columns: The number of columns of a row.
    """

    def __init__(self, num_columns: int) -> None:
        self._size = max(1024, min(SAMPLE_ROWS, SAMPLE_CELLS // max(1, num_columns)))
        self._seen = 0
        self._frames: list[pd.DataFrame] = []
        self._hashes: list[Array] = []
        self._held = 0

    def add(self, texts: dict[str, Array]) -> None:
        """Add the rows that follow, by column."""
        number = len(next(iter(texts.values()), []))
        hashes = _mixed(np.arange(self._seen, self._seen + number, dtype=np.uint64))
        self._seen += number
        self._frames.append(pd.DataFrame(texts, dtype=object))
        self._hashes.append(hashes)
        self._held += number
        if self._held > 4 * self._size:
            self._prune()

    def columns(self) -> dict[str, Array]:
        """The sampled rows, in their order, by column."""
        self._prune()
        return {str(name): column.to_numpy(object) for name, column in self._frames[0].items()} if self._frames else {}

    def _prune(self) -> None:
        if self._held <= self._size or not self._frames:
            frame = pd.concat(self._frames, ignore_index=True) if self._frames else pd.DataFrame()
            self._frames = [frame] if len(frame) else []
            self._hashes = [np.concatenate(self._hashes)] if self._hashes else []
            return
        hashes = np.concatenate(self._hashes)
        chosen = np.sort(np.argsort(hashes, kind="stable")[: self._size])
        self._frames = [pd.concat(self._frames, ignore_index=True).iloc[chosen]]
        self._hashes, self._held = [hashes[chosen]], len(chosen)


def _mixed(numbers: Array) -> Array:
    """SplitMix64's finaliser (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators")."""
    with np.errstate(over="ignore"):
        x = numbers + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))


def distinct_limit(num_columns: int) -> int:
    """Number of distinct values that are counted for each of a number of columns."""
    return max(1000, min(MAX_DISTINCT, DISTINCT_CELLS // max(1, num_columns)))

"""What is learnt of a table's columns, and how their values become a network's inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from flywheel.modality.tabular.data.bounds import Bounds, bounds_of
from flywheel.preprocessor.column_evidence import ColumnEvidence
from flywheel.preprocessor.values import Array, ValueRules, values_of
from flywheel.project.types import Json
from flywheel.reader.format.value import plain_text

RARE, ABSENT = 0, 1
"""Codes of every category: a value that is rare in train or not in it, and a missing one. Others are from 2 on."""
MAX_SHOWN = 10
DATE_FEATURES = ("year", "month", "day", "weekday", "elapsed_days")


@dataclass(frozen=True)
class Column(ABC):
    """One column of a table.

    Attributes:
        name: Name of the column in frames.
    """

    kind: ClassVar[str]
    name: str

    @abstractmethod
    def schema(self) -> Json:
        """JSON Schema of one value."""

    def to_json(self) -> Json:
        """The kind and everything learnt."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class NumericColumn(Column):
    """A column that becomes numbers.

    Attributes:
        fill: Replacement for missing values, in days since 1970 for dates: the median of train (for truth values, the
            more frequent one).
        marks_missing: Whether a further number says that the value is missing; so it is where train had missing ones.
        low: Smallest value in train.
        high: Largest value in train.
        clip: Bounds that values are brought to, None where a side has none; None: there are none at all.
    """

    fill: float
    marks_missing: bool
    low: float
    high: float
    clip: Bounds | None = None

    @property
    def features(self) -> list[str]:
        """Names of the numbers it becomes."""
        return [self.name, *self._mark]

    @property
    def scaled(self) -> list[bool]:
        """Which of them are brought to mean 0 and deviation 1; those of 0 and 1 stay as they are."""
        return [True, *(False for _ in self._mark)]

    @property
    def _mark(self) -> list[str]:
        return [f"{self.name}.missing"] if self.marks_missing else []

    def numbers(self, values: Array) -> Array:
        """Give the features, float64 [N, F], of values as `values_of` reads them."""
        missing = np.isnan(values)
        filled = np.where(missing, self.fill, values)
        columns = [*self._numbers(filled if self.clip is None else np.clip(filled, *self.clip))]
        return np.stack([*columns, missing.astype(np.float64)] if self.marks_missing else columns, axis=1)

    def num_clipped(self, values: Array) -> int:
        """Count the values that are beyond the bounds."""
        low, high = self.clip or (None, None)
        below = 0 if low is None else int((values < low).sum())
        return below + (0 if high is None else int((values > high).sum()))

    def shown(self, numbers: Array) -> str:
        """Write a row's features for people."""
        return "(missing)" if self.marks_missing and numbers[-1] else self._shown(numbers)

    def _numbers(self, filled: Array) -> list[Array]:
        return [filled]

    def _shown(self, numbers: Array) -> str:
        return f"{numbers[0]:.6g}"


@dataclass(frozen=True)
class NumberColumn(NumericColumn):
    """Numbers."""

    kind: ClassVar[str] = "number"

    def schema(self) -> Json:
        """A number, or null; train's range is described, not enforced."""
        return {"type": ["number", "null"], "description": f"a number; {self.low:g} to {self.high:g} in train"}


@dataclass(frozen=True)
class BooleanColumn(NumericColumn):
    """Truth values."""

    kind: ClassVar[str] = "boolean"

    @property
    def scaled(self) -> list[bool]:
        """None of them."""
        return [False] * len(self.features)

    def schema(self) -> Json:
        """True, false or null."""
        return {"type": ["boolean", "null"], "description": "true or false; yes, no, 1 and 0 are read too"}

    def _shown(self, numbers: Array) -> str:
        return "true" if numbers[0] else "false"


@dataclass(frozen=True)
class DateColumn(NumericColumn):
    """Points in time, in UTC: year, month, day, weekday (Monday is 0) and days since train's first date."""

    kind: ClassVar[str] = "date"

    @property
    def features(self) -> list[str]:
        """Names of the numbers it becomes."""
        return [*(f"{self.name}.{part}" for part in DATE_FEATURES), *self._mark]

    @property
    def scaled(self) -> list[bool]:
        """All but the mark."""
        return [*(True for _ in DATE_FEATURES), *(False for _ in self._mark)]

    def schema(self) -> Json:
        """A date, or null."""
        low, high = (str(np.datetime64(int(np.floor(day)), "D")) for day in (self.low, self.high))
        said = f"a date such as {low}; {low} to {high} in train"
        return {"type": ["string", "null"], "format": "date", "description": said}

    def _numbers(self, filled: Array) -> list[Array]:
        days = np.floor(filled).astype("int64").astype("datetime64[D]")
        months, years = days.astype("datetime64[M]"), days.astype("datetime64[Y]")
        parts = [
            years.astype(np.int64) + 1970,
            months.astype(np.int64) % 12 + 1,
            (days - months.astype("datetime64[D]")).astype(np.int64) + 1,
            (days.astype(np.int64) + 3) % 7,  # 1970 began on a Thursday
        ]
        return [*(part.astype(np.float64) for part in parts), filled - self.low]

    def _shown(self, numbers: Array) -> str:
        year, month, day = (int(number) for number in numbers[:3])
        return f"{year:04d}-{month:02d}-{day:02d}"


@dataclass(frozen=True)
class CategoryColumn(Column):
    """Values that are names.

    Attributes:
        values: Values that have their own code, the most frequent first: the first has code 2.
        rare: Values of train that share the code `RARE` with values that train has not; at most `MAX_SHOWN` are named.
        num_rare: Number of the rare values.
        refuses_unseen: Whether a value that train has not is an error.
    """

    kind: ClassVar[str] = "category"
    values: tuple[str, ...]
    rare: tuple[str, ...] = ()
    num_rare: int = 0
    refuses_unseen: bool = False

    @property
    def cardinality(self) -> int:
        """Number of codes."""
        return len(self.values) + 2

    def codes(self, texts: Array, decimal: str = ".") -> Array:
        """Give each value's code, int32 [N].

        A value has its one form (`plain_text`), also among those that were learnt before there was one.

        Args:
            texts: Output of `texts_of`.
            decimal: Character before the fraction.
        """
        known = {value: code for code, value in enumerate(self.values, start=2)}
        for value, code in list(known.items()):  # the more frequent first
            known.setdefault(plain_text(value, decimal), code)
        found = (ABSENT if text is None else _code(known, text, decimal) for text in texts)
        return np.fromiter(found, dtype=np.int32, count=len(texts))

    def value(self, code: int) -> str:
        """What a code stands for, for people."""
        return {RARE: "(rare or unseen)", ABSENT: "(missing)"}.get(code) or self.values[code - 2]

    def schema(self) -> Json:
        """One of the values or null; others too, unless they are refused."""
        if self.refuses_unseen:
            return {"enum": [*self.values, None]}
        return {"type": ["string", "null"], "examples": list(self.values[:MAX_SHOWN]),
                "description": f"one of {len(self.values):,} values; any other counts as rare"}  # fmt: skip


def _code(known: dict[str, int], text: str, decimal: str) -> int:
    code = known.get(text)
    return known.get(plain_text(text, decimal), RARE) if code is None else code


_KINDS = {kind.kind: kind for kind in (NumberColumn, BooleanColumn, DateColumn, CategoryColumn)}


def column_from(state: Json) -> Column:
    """Rebuild what `Column.to_json` gave.

    Raises:
        KeyError: The kind is not known.
        TypeError: Something is missing.
    """
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in state.items() if key != "kind"}
    kind: Any = _KINDS[state["kind"]]
    made: Column = kind(**given)
    return made


def numeric_column(
    kind: str, name: str, sample: Array, seen: ColumnEvidence, rules: ValueRules, clip: str | Sequence[float] | None
) -> NumericColumn:
    """Learn from a sample of train.

    Args:
        kind: number, boolean or date.
        name: The name of the column.
        sample: The column's texts.
        seen: The column's exact counts.
        rules: Format of the values.
        clip: `robust`, or lower and upper quantile, that values of a number are brought to; None: they are left.
    """
    values = values_of(kind, sample, rules)
    known = values[~np.isnan(values)]
    if not known.size:  # none of the few values was drawn
        known = np.array([0.0])
    low, high = float(known.min()), float(known.max())
    if kind == "number" and np.isfinite(seen.low):
        low, high = seen.low, seen.high
    fill = float(np.median(known)) if kind != "boolean" else float(known.mean() >= 0.5)
    given: dict[str, Any] = {"name": name, "fill": fill, "marks_missing": seen.num_missing > 0, "low": low,
                             "high": high}  # fmt: skip
    if kind == "number":
        return NumberColumn(**given, clip=None if clip is None else bounds_of(known, clip))
    return BooleanColumn(**given) if kind == "boolean" else DateColumn(**given)


def category_column(
    name: str, counts: dict[str, int], max_categories: int, min_count: int, refuses_unseen: bool
) -> CategoryColumn:
    """Give codes by frequency; equally frequent values by name.

    Args:
        name: The name of the column.
        counts: Number of train rows by value.
        max_categories: Values with a code of their own at most.
        min_count: Rows that such a value has at least.
        refuses_unseen: Whether a value that train has not is an error; then none is rare either.
    """
    order = sorted(counts, key=lambda value: (-counts[value], value))
    if refuses_unseen:
        return CategoryColumn(name, tuple(order), refuses_unseen=True)
    kept = [value for value in order[:max_categories] if counts[value] >= min_count]
    rare = order[len(kept) :]
    return CategoryColumn(name, tuple(kept), tuple(rare[:MAX_SHOWN]), len(rare))

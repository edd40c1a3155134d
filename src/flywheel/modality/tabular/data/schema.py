"""Schemas of rows, checked by pandera: as they come in, and as they go to the network.

pandera names every value that cannot be used. It takes more than a second to import and 10 ms a frame, most of what an
answer to a row would cost, so numpy looks first whether there is any such value at all, by the very same rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from flywheel.modality.tabular.data.columns import RARE, CategoryColumn, Column
from flywheel.preprocessor.values import LARGEST, NESTED, Array, ValueRules, values_of

WHY = {
    "number": "not a finite number",
    "boolean": "neither true nor false",
    "date": "not a date of a known format",
    "category": "a list or mapping, not one value",
    "identifier": "a list or mapping, not one value",
}
UNSEEN = "not one of the values in train"


@dataclass(frozen=True)
class Failure:
    """A value that cannot be used: its place among the rows, its column, and why."""

    place: int
    column: str
    why: str


class RowSchema:
    """Rows as they come in.

    Args:
        kinds: The kinds of each column that is checked.
        rules: Format of the values.
        closed: Columns whose values are a closed list.
    """

    def __init__(self, kinds: Mapping[str, str], rules: ValueRules, closed: Sequence[CategoryColumn] = ()) -> None:
        self.kinds, self.rules = dict(kinds), rules
        self._closed = {column.name: column for column in closed}
        self._schema: Any = None

    @classmethod
    def of(cls, columns: Sequence[Column], rules: ValueRules) -> RowSchema:
        """Rows that learnt columns can take."""
        closed = [column for column in columns if isinstance(column, CategoryColumn) and column.refuses_unseen]
        kinds = {column.name: column.kind for column in columns}
        return cls(kinds, rules, closed)

    def read(self, texts: Mapping[str, Array]) -> tuple[dict[str, Array], list[Failure]]:
        """Read the values of each column, and say which cannot be used.

        Args:
            texts: Output of `texts_of` by column, for all columns in `kinds`.

        Returns:
            By column float64 [N], as `values_of` gives them (of categories and identifiers the texts, object [N]); and
            the failures in the order of the rows.
        """
        values: dict[str, Array] = {}
        typed: dict[str, Array] = {}
        for name, kind in self.kinds.items():
            if kind in ("category", "identifier"):
                values[name] = typed[name] = texts[name]
                continue
            found = values_of(kind, texts[name], self.rules)
            unread = np.isnan(found) & np.fromiter((text is not None for text in texts[name]), bool, len(found))
            values[name], typed[name] = found, np.where(unread, np.inf, found)
        if self.holds(typed):
            return values, []
        failures = self.failures(typed)
        return values, [_told(failure, texts) for failure in sorted(failures, key=lambda one: one.place)]

    def holds(self, typed: Mapping[str, Array]) -> bool:
        """Whether all values can be used; if not, `failures` says which cannot.

        Args:
            typed: Values by column: float64 [N], NaN where one is missing and infinite where it could not be read; for
                categories and identifiers the texts, object [N].
        """
        return all(self._column_holds(name, found) for name, found in typed.items())

    def failures(self, typed: Mapping[str, Array]) -> list[Failure]:
        """Say which values cannot be used, by pandera."""
        frame = pd.DataFrame({name: pd.Series(found, dtype=found.dtype) for name, found in typed.items()})
        if not len(frame):
            return []
        if self._schema is None:
            self._schema = self._made()
        return _failures(self._schema, frame)

    def _column_holds(self, name: str, found: Array) -> bool:
        if self.kinds[name] not in ("category", "identifier"):
            return not bool(np.isinf(found).any())
        if any(text == NESTED for text in found):
            return False
        closed = self._closed.get(name)
        return closed is None or not bool((closed.codes(found, self.rules.decimal) == RARE).any())

    def _made(self) -> Any:
        import pandera.pandas as pa

        columns: dict[str, Any] = {}
        for name, kind in self.kinds.items():
            if kind not in ("category", "identifier"):
                columns[name] = pa.Column(float, pa.Check(np.isfinite, error=WHY[kind]), nullable=True)
                continue
            checks = [pa.Check(lambda values: values != NESTED, error=WHY[kind])]
            if name in self._closed:
                checks.append(pa.Check(partial(_is_known, self._closed[name], self.rules.decimal), error=UNSEEN))
            columns[name] = pa.Column(object, checks, nullable=True)
        return pa.DataFrameSchema(columns, strict=True)


class ProcessedSchema:
    """Arrays as they go to the network.

    Args:
        features: Names of the numbers, in order.
        cardinalities: Number of codes of each category, by its name, in order.
    """

    def __init__(self, features: Sequence[str], cardinalities: Mapping[str, int]) -> None:
        self._features, self._cardinalities = list(features), dict(cardinalities)
        self._schema: Any = None

    def failures(self, arrays: Mapping[str, Array]) -> list[Failure]:
        """Say which values cannot be: numbers beyond 32 bits or NaN, codes that do not exist."""
        return [] if self.holds(arrays) else self.named(arrays)

    def holds(self, arrays: Mapping[str, Array]) -> bool:
        """Whether all values can be; if not, `named` says which cannot."""
        good = True
        if self._features:
            numbers = arrays["numeric"]
            good = numbers.dtype == np.float32 and numbers.shape[1] == len(self._features)
            good = good and bool((np.abs(numbers) <= LARGEST).all())
        if good and self._cardinalities:
            codes, known = arrays["categories"], np.array([*self._cardinalities.values()])
            good = codes.dtype == np.int32 and codes.shape[1] == len(known)
            good = good and bool(((codes >= 0) & (codes < known)).all())
        return good

    def named(self, arrays: Mapping[str, Array]) -> list[Failure]:
        """Say which values cannot be, by pandera."""
        columns: dict[str, Array] = {}
        for name, names in (("numeric", self._features), ("categories", list(self._cardinalities))):
            columns |= {f"{name}:{one}": arrays[name][:, place] for place, one in enumerate(names)}
        frame = pd.DataFrame(columns)
        if self._schema is None:
            self._schema = self._made()
        return _failures(self._schema, frame) if len(frame) else []

    def _made(self) -> Any:
        import pandera.pandas as pa

        finite = pa.Check(lambda values: values.abs() <= LARGEST, error="not a finite number of 32 bits")
        columns = {f"numeric:{name}": pa.Column("float32", finite) for name in self._features}
        for name, number in self._cardinalities.items():
            columns[f"categories:{name}"] = pa.Column(
                "int32", pa.Check.in_range(0, number - 1, error="not a known code")
            )
        return pa.DataFrameSchema(columns, strict=True, ordered=True)


def _is_known(column: CategoryColumn, decimal: str, values: pd.Series) -> pd.Series:
    return pd.Series(column.codes(values.to_numpy(object), decimal) != RARE, index=values.index)


def _failures(schema: Any, frame: pd.DataFrame) -> list[Failure]:
    import pandera.pandas as pa

    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
        if cases["index"].isna().any():
            raise  # not a value but the frame is wrong, which this module has made: a bug
        return [
            Failure(int(case["index"]), str(case["column"]), str(case["check"])) for case in cases.to_dict("records")
        ]
    return []


def _told(failure: Failure, texts: Mapping[str, Array]) -> Failure:
    """Put the value, as it stands, before the reason."""
    text = texts[failure.column][failure.place]
    shown = "" if text == NESTED else f"'{text if len(text) <= 40 else f'{text[:39]}…'}' "
    return Failure(failure.place, failure.column, f"{failure.column}: {shown}is {failure.why}")

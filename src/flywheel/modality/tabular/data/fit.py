"""One pass over train: what each column is, and what is learnt of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from flywheel.modality.tabular.data.columns import (
    MAX_SHOWN,
    CategoryColumn,
    Column,
    NumericColumn,
    category_column,
    numeric_column,
)
from flywheel.preprocessor.column_evidence import ColumnEvidence, RowSample, distinct_limit
from flywheel.preprocessor.column_types import TypeDecision, decide
from flywheel.preprocessor.values import Array, ValueRules, values_of
from flywheel.project.errors import DataError
from flywheel.project.types import Json

MAX_STATED = 1_000_000
"""Distinct values of a stated category that are counted."""
NO_DEVIATION = 1e-9  # of the largest value, up to which a number is constant but for rounding


@dataclass(frozen=True)
class Learnt:
    """What `learn` found.

    Attributes:
        columns: Columns that are inputs, in the table's order.
        mean: The mean of each number that the network takes, over train; 0 where it is not scaled.
        std: The standard deviation of each; 1 where it is not scaled.
        ignored: Why each other column is not an input.
        facts: Statistics of each column's values in train, for the profile; not kept in the state.
    """

    columns: tuple[Column, ...]
    mean: list[float]
    std: list[float]
    ignored: dict[str, str]
    facts: dict[str, Json] = field(default_factory=dict)

    @property
    def numeric(self) -> list[NumericColumn]:
        """The columns that become numbers."""
        return [column for column in self.columns if isinstance(column, NumericColumn)]

    @property
    def categories(self) -> list[CategoryColumn]:
        """The columns that become codes."""
        return [column for column in self.columns if isinstance(column, CategoryColumn)]

    @property
    def features(self) -> list[str]:
        """Names of the numbers, in order."""
        return [name for column in self.numeric for name in column.features]

    def kind_of(self, name: str) -> str:
        """The kind of a column that is an input."""
        return next(column.kind for column in self.columns if column.name == name)

    def to_json(self) -> Json:
        """All but the facts."""
        columns = [column.to_json() for column in self.columns]
        return {"columns": columns, "mean": self.mean, "std": self.std, "ignored": self.ignored}


def learn(
    chunks: Iterable[tuple[Mapping[str, Array], Array]],
    rules: ValueRules,
    types: Mapping[str, str],
    *,
    max_categories: int,
    min_count: int,
    refuses_unseen: bool,
    clip: str | Sequence[float] | None,
    drop_constant: bool,
) -> Learnt:
    """Decide what each column is, and learn what its kind needs.

    Args:
        chunks: Texts of each column (as `texts_of` gives them), and each row's number in the file. A column that a
            chunk lacks (feedback may) is missing there.
        rules: Format of the values.
        types: Stated kinds of columns.
        max_categories: See `TabularPreprocessor`, as for those that follow.
        min_count: As for `TabularPreprocessor`.
        refuses_unseen: Whether an unseen category is an error.
        clip: As for `TabularPreprocessor`.
        drop_constant: As for `TabularPreprocessor`.

    Raises:
        DataError: No column can be an input, or a column's values are of two kinds.
    """
    evidence: dict[str, ColumnEvidence] = {}
    sample: RowSample | None = None
    for texts, rows in chunks:
        if sample is None:
            limit = distinct_limit(len(texts))
            stated = {name for name, kind in types.items() if kind == "category"}
            evidence = {name: ColumnEvidence(MAX_STATED if name in stated else limit, rules) for name in texts}
            sample = RowSample(len(texts))
        whole = {name: texts.get(name, np.full(len(rows), None, dtype=object)) for name in evidence}
        for name, seen in evidence.items():
            seen.add(whole[name], rows)
        sample.add(whole)
    if sample is None:
        raise DataError("train", None, "holds no rows to learn from")
    decisions = {
        name: decide(name, seen, types.get(name), drop_constant=drop_constant) for name, seen in evidence.items()
    }
    held = sample.columns()
    columns: list[Column] = []
    for name, decision in decisions.items():
        seen = evidence[name]
        if decision.kind == "category":
            if seen.counts is None:
                why = f"column '{name}' has more than {seen.max_distinct:,} different values, too many for a category"
                raise DataError("train", None, why, fix=f"preprocess.inputs.ignore: [{name}]")
            columns.append(category_column(name, seen.counts, max_categories, min_count, refuses_unseen))
        elif decision.kind is not None:
            columns.append(numeric_column(decision.kind, name, held[name], seen, rules, clip))
    ignored = {name: decision.why for name, decision in decisions.items() if decision.kind is None}
    if not columns:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(ignored.items())[:5])
        fix = "state what they are in preprocess.inputs.types"
        raise DataError("train", None, f"no column can be an input ({why})", fix=fix)
    mean, std = _scaling(columns, held, rules)
    facts = {column.name: _facts(column, decisions[column.name], evidence[column.name]) for column in columns}
    return Learnt(tuple(columns), mean, std, ignored, facts)


def _scaling(
    columns: Sequence[Column], sample: Mapping[str, Array], rules: ValueRules
) -> tuple[list[float], list[float]]:
    mean: list[float] = []
    std: list[float] = []
    for column in columns:
        if not isinstance(column, NumericColumn):
            continue
        numbers = column.numbers(values_of(column.kind, sample[column.name], rules))
        for place, scaled in enumerate(column.scaled):
            values = numbers[:, place]
            deviation = float(values.std())
            varies = deviation > NO_DEVIATION * float(np.abs(values).max())
            mean.append(float(values.mean()) if scaled else 0.0)
            std.append(deviation if scaled and varies else 1.0)
    return mean, std


def _facts(column: Column, decision: TypeDecision, seen: ColumnEvidence) -> Json:
    found: Json = {"kind": column.kind, "why": decision.why, "missing": round(seen.num_missing / seen.num_rows, 6)}
    if isinstance(column, CategoryColumn):
        counts = seen.counts or {}
        top = [*column.values[:MAX_SHOWN]]
        return found | {"num_values": len(counts), "num_rare": column.num_rare,
                        "most_frequent": {value: counts[value] for value in top}}  # fmt: skip
    if isinstance(column, NumericColumn):
        found |= {"min": column.low, "median": column.fill, "max": column.high}
        found |= {} if column.clip is None else {"clipped_to": list(column.clip)}
    return found

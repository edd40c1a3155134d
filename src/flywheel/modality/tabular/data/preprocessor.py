"""Tables: each column's kind is inferred from train, or stated; numbers and categories become two inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.modality.tabular.data.bounds import ROBUST
from flywheel.modality.tabular.data.columns import ABSENT, Column, column_from
from flywheel.modality.tabular.data.fit import Learnt, learn
from flywheel.modality.tabular.data.schema import Failure, ProcessedSchema, RowSchema
from flywheel.preprocessor.base import RESERVED_COLUMNS, Preprocessor, target_name
from flywheel.preprocessor.chunks import mapped
from flywheel.preprocessor.column_types import check_types
from flywheel.preprocessor.table_requests import read_table_requests
from flywheel.preprocessor.values import DATE_FORMATS, MISSING, Array, ValueRules, texts_of, values_of
from flywheel.project.errors import DataError, nearest
from flywheel.project.types import Dropped, Json, Preview
from flywheel.reader.format.table_file import TableFormat
from flywheel.reader.format.value import object_column

NORMALISE = ("standard", "none")
UNSEEN = ("rare", "refuse")
PREVIEW_COLUMNS = 12


class TabularPreprocessor(Preprocessor):
    """Columns of a table as `numeric`, float32 [N, F], and `categories`, int32 [N, C]; one without columns is left out.

    Types are inferred from train (`tabular_types`). A value that a stated type cannot read makes its row unusable; one
    that an inferred type cannot read is an error, in training and in service alike, that says how to state the type.
    Missing numbers become train's median, with a further number that marks them; missing categories have a code.

    Args:
        types: Kind of a column by its name: number, category, boolean, date, or identifier (no input, but rows with
            different identifiers are different observations, also where all else is equal).
        ignore: Columns that are as if they were not there.
        missing: Texts that stand for a missing value.
        thousands: Character between groups of digits; None: there is none.
        decimal: Character before the fraction.
        percent: Whether `12%` is the number 0.12.
        date_formats: Formats of dates.
        max_categories: Values of a column with a code of their own at most; others share one, with unseen values.
        min_count: Rows of train that a value with a code of its own has at least.
        unseen: What a category becomes that train does not have: `rare`, or `refuse`: an error.
        clip: Bounds that numbers are clipped to: `robust` (fences about train's median that a few outliers do not
            move), two quantiles of train, [low, high], or None: no clipping. Without it, three wrong values in
            thousands of rows can decide the scale, or which epoch is kept.
        normalise: `standard` (mean 0, deviation 1 over train, in the network's graph) or `none`.
        drop_constant: Whether columns with one value in train are not inputs.
    """

    def __init__(
        self,
        types: Mapping[str, str] | None = None,
        ignore: Sequence[str] = (),
        missing: Sequence[str] = MISSING,
        thousands: str | None = None,
        decimal: str = ".",
        percent: bool = False,
        date_formats: Sequence[str] = DATE_FORMATS,
        max_categories: int = 100,
        min_count: int = 2,
        unseen: str = "rare",
        clip: str | Sequence[float] | None = ROBUST,
        normalise: str = "standard",
        drop_constant: bool = True,
    ) -> None:
        self.rules = ValueRules(list(missing), thousands, decimal, percent, list(date_formats))
        self.rules.check("preprocess.inputs")
        self.types, self.ignore = {str(name): str(kind) for name, kind in (types or {}).items()}, list(ignore)
        check_types(self.types)
        if normalise not in NORMALISE:
            raise ValueError(f"normalise must be one of {', '.join(NORMALISE)}, not '{normalise}'")
        if unseen not in UNSEEN:
            raise ValueError(f"unseen must be one of {', '.join(UNSEEN)}, not '{unseen}'")
        if isinstance(clip, str) and clip != ROBUST:
            raise ValueError(f"clip must be {ROBUST}, two quantiles or null, not '{clip}'")
        if not (clip is None or isinstance(clip, str) or (len(clip) == 2 and 0 <= clip[0] < clip[1] <= 1)):
            raise ValueError(f"clip {list(clip)} is not two quantiles, the lower first")
        if max_categories < 1 or min_count < 1:
            raise ValueError("max_categories and min_count must be 1 or more")
        self.max_categories, self.min_count, self.unseen = max_categories, min_count, unseen
        self.clip = clip if clip is None or isinstance(clip, str) else [float(share) for share in clip]
        self.normalise, self.drop_constant = normalise, drop_constant
        self._ready: tuple[Learnt, RowSchema, ProcessedSchema] | None = None
        self._met: dict[str, None] = {}  # columns of raw frames: clean leaves out what `ignore` names

    @property
    def columns(self) -> list[Column]:
        """The columns that are inputs, once it is fitted."""
        return list(self._fitted.columns)

    def fit(self, chunks: Iterable[pd.DataFrame]) -> None:
        """Infer each column's kind, and learn its median, bounds or codes.

        Raises:
            DataError: `types` or `ignore` names a column that no frame had, here or in `clean`.
        """
        texts = self._told(chunks)
        self._set(learn(texts, self.rules, self.types, max_categories=self.max_categories, min_count=self.min_count,
                        refuses_unseen=self.unseen == "refuse", clip=self.clip,
                        drop_constant=self.drop_constant))  # fmt: skip

    def met(self, columns: Sequence[str]) -> None:
        """Hear of columns that `types` and `ignore` may name."""
        self._met.update(dict.fromkeys(name for name in columns if name not in RESERVED_COLUMNS))

    def clean(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Dropped]]:
        """Drop rows with a value that its stated type cannot read; once fitted, that its column cannot read."""
        if self._ready is None:  # what is not stated is not known yet: any single value will do
            self._met.update(_columns_of(frame))
            schema = RowSchema({name: self.types.get(name, "category") for name in self._named(frame)}, self.rules)
        else:
            schema = self._ready[1]
        texts = {name: self._texts(frame, name) for name in schema.kinds}
        known = frame["error"] if "error" in frame.columns else object_column([None] * len(frame))
        reasons = {place: str(why) for place, why in enumerate(known) if isinstance(why, str) and why}
        for failure in schema.read(texts)[1]:
            reasons.setdefault(failure.place, failure.why)
        held = {name: frame[name] for name in RESERVED_COLUMNS if name in frame.columns and name != "error"}
        cleaned = pd.DataFrame(texts, index=frame.index, dtype=object).assign(**held)
        dropped = [Dropped(int(frame.index[place]), why) for place, why in sorted(reasons.items())]
        return cleaned.drop(index=[drop.row for drop in dropped]) if dropped else cleaned, dropped

    def transform(self, frame: pd.DataFrame) -> dict[str, Array]:
        """Give `numeric` as it is in the table, missing values filled (the network scales it), and `categories`."""
        learnt, schema, processed = self._fitted_parts
        values, failures = schema.read({column.name: self._texts(frame, column.name) for column in learnt.columns})
        if failures:
            raise self._row_error(frame, failures[0])
        arrays: dict[str, Array] = {}
        if learnt.numeric:
            parts = [column.numbers(values[column.name]) for column in learnt.numeric]
            arrays["numeric"] = np.concatenate(parts, axis=1).astype(np.float32)
        if learnt.categories:
            decimal = self.rules.decimal
            codes = [column.codes(values[column.name], decimal) for column in learnt.categories]
            arrays["categories"] = np.stack(codes, axis=1)
        failures = processed.failures(arrays)
        if failures:
            raise self._row_error(frame, Failure(failures[0].place, "", f"{failures[0].column} is {failures[0].why}"))
        return arrays

    def meta(self) -> Json:
        """`inputs`, `num_numeric`, `cardinalities` (codes of each category), `num_features` and `columns`."""
        learnt = self._fitted
        inputs: Json = {}
        if learnt.numeric:
            inputs["numeric"] = {"dtype": "float32", "shape": [len(learnt.features)]}
            if self.normalise == "standard":
                inputs["numeric"] |= {"mean": learnt.mean, "std": learnt.std}
        if learnt.categories:
            inputs["categories"] = {"dtype": "int32", "shape": [len(learnt.categories)]}
        return {
            "inputs": inputs,
            "num_numeric": len(learnt.features),
            "cardinalities": [column.cardinality for column in learnt.categories],
            "num_features": len(learnt.features) + len(learnt.categories),
            "columns": [*learnt.features, *(column.name for column in learnt.categories)],
        }

    def schema(self) -> Json:
        """One request: every column that is an input, by its name; null where it is missing."""
        columns = self._fitted.columns
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {column.name: column.schema() for column in columns},
            "required": [column.name for column in columns],
        }

    def preview(self, inputs: dict[str, Array], index: int) -> Preview:
        """A line `column: value` for each of the first columns."""
        learnt = self._fitted
        shown: dict[str, str] = {}
        start = 0
        for column in learnt.numeric:
            numbers = inputs["numeric"][index, start : start + len(column.features)]
            shown[column.name], start = column.shown(numbers), start + len(column.features)
        for place, category in enumerate(learnt.categories):
            shown[category.name] = category.value(int(inputs["categories"][index, place]))
        names = [column.name for column in learnt.columns]
        lines = [f"{name}: {shown[name]}" for name in names[:PREVIEW_COLUMNS]]
        more = len(names) - len(lines)
        return Preview(text="\n".join([*lines, f"and {more} more columns"] if more else lines))

    def read_requests(self, paths: Sequence[Path], table: TableFormat | None = None) -> pd.DataFrame:
        """Read CSV, Parquet and JSONL files that have every column which is an input."""
        return read_table_requests(paths, [column.name for column in self._fitted.columns], own=table)

    def statistics(self, frame: pd.DataFrame, inputs: dict[str, Array]) -> dict[str, Any]:
        """Missing and clipped values, and categories that train has not or has rarely, by column; none are left out."""
        found: dict[str, Any] = {}
        for column in self._fitted.numeric:
            texts = self._texts(frame, column.name)
            clipped = column.num_clipped(values_of(column.kind, texts, self.rules)) if column.clip else 0
            for word, number in (("missing", sum(text is None for text in texts)), ("clipped", clipped)):
                found |= {f"{word}: {column.name}": number} if number else {}
        for place, category in enumerate(self._fitted.categories):
            codes = inputs["categories"][:, place]
            for word, number in (
                ("missing", int((codes == ABSENT).sum())),
                ("rare or unseen", int((codes == 0).sum())),
            ):
                found |= {f"{word}: {category.name}": number} if number else {}
        return found

    def facts(self) -> Json:
        """What each column of train is, and which are not inputs, and why."""
        return {"columns": self._fitted.facts, "ignored": {**dict.fromkeys(self.ignore, "as ignore says"),
                                                           **self._fitted.ignored}}  # fmt: skip

    def to_json(self) -> Json:
        """The arguments, and under `fitted` what was learnt."""
        rules = self.rules
        return {
            "_target_": target_name(type(self)), "types": self.types, "ignore": self.ignore,
            "missing": list(rules.missing), "thousands": rules.thousands, "decimal": rules.decimal,
            "percent": rules.percent, "date_formats": list(rules.date_formats), "max_categories": self.max_categories,
            "min_count": self.min_count, "unseen": self.unseen,
            "clip": self.clip, "normalise": self.normalise,
            "drop_constant": self.drop_constant, "fitted": self._fitted.to_json(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: Json) -> TabularPreprocessor:
        """Rebuild a fitted preprocessor."""
        try:
            made = cls(**{key: value for key, value in state.items() if key not in ("_target_", "fitted")})
            fitted = state["fitted"]
            columns = tuple(map(column_from, fitted["columns"]))
            made._set(Learnt(columns, fitted["mean"], fitted["std"], fitted["ignored"]))
        except (KeyError, TypeError, ValueError) as error:
            why = f"its inputs are not a TabularPreprocessor's: {error!r}"
            raise DataError("preprocessor.json", None, why, fix="run the preprocess stage again") from None
        return made

    @property
    def _fitted_parts(self) -> tuple[Learnt, RowSchema, ProcessedSchema]:
        if self._ready is None:
            raise DataError("preprocessor", None, "has seen no table yet", fix="fit it first")
        return self._ready

    @property
    def _fitted(self) -> Learnt:
        return self._fitted_parts[0]

    def _set(self, learnt: Learnt) -> None:
        cardinalities = {column.name: column.cardinality for column in learnt.categories}
        processed = ProcessedSchema(learnt.features, cardinalities)
        self._ready = learnt, RowSchema.of(learnt.columns, self.rules), processed

    def _named(self, frame: pd.DataFrame) -> list[str]:
        """The columns of a raw frame that may be inputs."""
        return [name for name in _columns_of(frame) if name not in self.ignore]

    def _told(self, chunks: Iterable[pd.DataFrame]) -> Iterator[tuple[dict[str, Array], Array]]:
        """Texts and row numbers of each frame; at the end, check that each column that is named was somewhere.

        Not each frame has it: feedback lacks what requests need not give, such as identifiers.
        """
        met = dict(self._met)
        any_chunk = False
        for columns, texts, rows in mapped(self._told_of, chunks):
            any_chunk = True
            met.update(columns)
            yield texts, rows
        for name in (*self.types, *self.ignore) if any_chunk else ():
            if name not in met:
                why = f"no column '{name}', which preprocess.inputs names"
                raise DataError("table", None, why, fix=nearest(name, met))

    def _told_of(self, frame: pd.DataFrame) -> tuple[dict[str, None], dict[str, Array], Array]:
        texts = {name: self._texts(frame, name) for name in self._named(frame)}
        return _columns_of(frame), texts, frame.index.to_numpy()

    def _texts(self, frame: pd.DataFrame, name: str) -> Array:
        if name not in frame.columns:
            fix = nearest(name, (str(other) for other in frame.columns))
            raise DataError("input", None, f"has no column '{name}'", fix=fix)
        return texts_of(frame[name], self.rules)

    def _row_error(self, frame: pd.DataFrame, failure: Failure) -> DataError:
        file = str(frame["file"].iloc[failure.place]) if "file" in frame.columns else "input"
        row = frame["row"].iloc[failure.place] if "row" in frame.columns else frame.index[failure.place]
        fix = None
        if failure.column and failure.column not in self.types and "label" in frame.columns:
            kind = self._fitted.kind_of(failure.column)
            fix = f"preprocess.inputs.types: {{{failure.column}: {kind}}} drops such rows when a model is trained"
        return DataError(file, int(row), failure.why, fix=fix)


def _columns_of(frame: pd.DataFrame) -> dict[str, None]:
    """Names of a frame's columns that mean nothing else, in their order."""
    return dict.fromkeys(str(name) for name in frame.columns if name not in RESERVED_COLUMNS)

"""From the JSON of a request to the raw rows that a preprocessor takes, checked by the preprocessor's own schema."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pandas as pd

from flywheel.project.errors import DataError, nearest
from flywheel.project.types import Json
from flywheel.reader.format.unique import RepeatedKeyError, num_keys
from flywheel.reader.format.unique import parse_json as parse_unique
from flywheel.registry.request import WHERE
from flywheel.serving.problem import RequestError

INSTANCES = "instances"
# One that does not end reaches to the end of the body, and nothing is given back: else time would grow with the square.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_BRACKETS = np.zeros(256, np.int8)
_BRACKETS[list(b"[{")], _BRACKETS[list(b"]}")] = 1, -1


class RowReader:
    """Reads rows of one task.

    Args:
        schema: JSON Schema of one row, as `Preprocessor.schema()` gives it.
        max_rows: The largest number of rows of one request.
        aliases: Other names of inputs, as `TaskPreprocessor.aliases` gives them.

    Attributes:
        names: The inputs of a row, in order.
        required: Inputs that each row must have.
        media: Inputs that may be an encoded file.
        texts: Inputs that must be a text.
    """

    def __init__(self, schema: Json, max_rows: int, aliases: Mapping[str, str] | None = None) -> None:
        self.names = tuple(schema["properties"])
        self.required = tuple(schema.get("required", ()))
        self.media = tuple(name for name, spec in schema["properties"].items() if _is_media(spec))
        self.texts = tuple(name for name, spec in schema["properties"].items() if _is_text(spec))
        self.max_rows, self.aliases = max_rows, dict(aliases or {})
        self._nullable = {name for name, spec in schema["properties"].items() if "null" in spec.get("type", ())}
        self._indices: dict[tuple[str, ...], pd.Index] = {}
        self._known, self._must = frozenset(self.names), frozenset(self.required)

    def rows(self, body: Any) -> list[Json]:
        """Give the rows of a body: one row, or `instances` with several.

        Raises:
            RequestError: The body is neither, or holds too many rows.
            DataError: A row lacks an input, or has one that there is not.
        """
        if not isinstance(body, dict):
            fix = f'give one row as a mapping of {", ".join(self.names)}, or {{"{INSTANCES}": [...]}}'
            raise RequestError(400, f"is a {_kind(body)}", where="body", fix=fix)
        if INSTANCES not in body or INSTANCES in self._known:
            return [self.row(body, 0)]
        instances = body[INSTANCES]
        if len(body) > 1:
            other = next(key for key in body if key != INSTANCES)
            raise RequestError(400, f"has '{other}' beside '{INSTANCES}'", where="body", fix="leave it out")
        if not isinstance(instances, list) or not instances:
            raise RequestError(400, f"'{INSTANCES}' is not a list of rows", where="body", fix="give at least one row")
        self.check_number(len(instances))
        return [self.row(instance, place) for place, instance in enumerate(instances)]

    def row(self, instance: Any, place: int) -> Json:
        """Check one row's names; where there is one input only, its bare value will do.

        Raises:
            DataError: An input is missing or not known, or is a number where the schema says text.
        """
        if not isinstance(instance, dict):
            if len(self.names) != 1:
                fix = f"name the inputs {', '.join(self.names)}"
                raise DataError(WHERE, place, f"is a {_kind(instance)}, not a mapping", fix=fix)
            instance = {self.names[0]: instance}
        row: Json = instance
        if self.aliases:
            names = [name if (new := self.aliases.get(name, name)) in instance else new for name in map(str, instance)]
            row = dict(zip(names, instance.values(), strict=True))
        if not row.keys() <= self._known:
            name = next(name for name in row if name not in self._known)
            raise DataError(
                WHERE, place, f"has '{name[:80]}', which is not an input", fix=nearest(name[:80], self.names)
            )
        if not self._must <= row.keys():
            name = next(name for name in self.required if name not in row)
            fix = "give it; null where it is not known" if name in self._nullable else "give it"
            raise DataError(WHERE, place, f"has no '{name}'", fix=fix)
        for name in self.texts:
            if isinstance(row.get(name), int | float):
                what = f"{name} is a {_kind(row[name])}, not a text"
                raise DataError(WHERE, place, what, fix="put it in quotes")
        return row

    def of_columns(self, columns: Mapping[str, Sequence[Any]]) -> list[Json]:
        """Give the rows of equally long columns by input, checked as `row` and `check_number` do."""
        self.check_number(len(next(iter(columns.values()))))
        rows = zip(*columns.values(), strict=True)
        return [self.row(dict(zip(columns, row, strict=True)), place) for place, row in enumerate(rows)]

    def check_number(self, num_rows: int) -> None:
        """Refuse too many rows.

        Raises:
            RequestError: They are.
        """
        if num_rows > self.max_rows:
            what = f"holds {num_rows} rows, more than {self.max_rows}"
            raise RequestError(413, what, where="body", fix="send them in several requests")

    def frame(self, rows: Sequence[Mapping[str, Any]], first: int = 0) -> pd.DataFrame:
        """Make the frame of checked rows, of objects; None stands where a row leaves an optional input out.

        Args:
            rows: The rows of a request, or some of them.
            first: Number of the first of them, for messages.
        """
        held = tuple(name for name in self.names if name in self._must or any(name in row for row in rows))
        values = np.empty((len(rows), len(held)), dtype=object)
        for place, row in enumerate(rows):
            for column, name in enumerate(held):
                values[place, column] = row.get(name)
        index = self._indices.get(held)
        if index is None:  # one index for all frames: to find a column by its name, pandas hashes the names first
            index = self._indices[held] = pd.Index(held, dtype=object)
        made = pd.DataFrame(values, columns=index, dtype=object, copy=False)
        if first:
            made.index = pd.RangeIndex(first, first + len(rows))
        return made


def parse_json(body: bytes, max_depth: int) -> Any:
    """Parse strict JSON: UTF-8, no NaN or Infinity, no key twice in an object, and not nested too deeply.

    Raises:
        RequestError: It is not.
    """
    if body.count(b"[") + body.count(b"{") > max_depth and _depth(body) > max_depth:
        raise RequestError(400, f"is nested more than {max_depth} deep", where="body", fix="give plain rows")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        why = str(error) if body else "is empty"
        raise RequestError(400, f"is not JSON: {why}", where="body", fix="give JSON in UTF-8, without NaN") from None
    _check_keys(body, value)
    return value


def _check_keys(body: bytes, value: Any) -> None:
    """Refuse a key that an object has twice; orjson takes the last of them without a word.

    In JSON a colon outside of texts stands behind each key, so that fewer keys than colons are keys given twice.
    """
    keys = num_keys(value, body.count(b"{"))
    if body.count(b":") > keys and _STRING.sub(b"", body).count(b":") > keys:
        try:
            parse_unique(body)
        except RepeatedKeyError as error:
            raise RequestError(400, str(error), where="body", fix="give it once") from None


def _depth(body: bytes) -> int:
    """How deeply lists and mappings are nested, in one pass without recursion."""
    steps = _BRACKETS[np.frombuffer(_STRING.sub(b"", body), np.uint8)]
    return int(np.cumsum(steps, dtype=np.int64).max(initial=0))


def _is_media(spec: Json) -> bool:
    return "contentEncoding" in spec or any(_is_media(one) for one in (*spec.get("anyOf", ()), *spec.get("allOf", ())))


def _is_text(spec: Json) -> bool:
    return spec.get("type") == "string" and "contentEncoding" not in spec


def _kind(value: Any) -> str:
    names = {list: "list", dict: "mapping", str: "text", bool: "truth value", type(None): "null"}
    return names.get(type(value), "number")

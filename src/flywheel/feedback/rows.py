"""Stored inputs become rows again: a frame such as a reader gives, and columns such as Parquet holds."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from flywheel.preprocessor.base import RESERVED_COLUMNS
from flywheel.project.types import Json
from flywheel.reader.format.value import object_column

ANSWER_OPTIONS = ("k",)
"""Properties of a request that say how it is to be answered, and are not inputs."""
LARGEST_WHOLE = 2**53  # from here on a float does not tell whole numbers apart
LARGEST_BYTE = 255


def columns_of(schema: Json) -> list[str]:
    """The inputs that a request names, in the schema's order."""
    left_out = (*ANSWER_OPTIONS, *RESERVED_COLUMNS)
    return [name for name in schema.get("properties", {}) if name not in left_out]


def missing_column(value: Json, schema: Json) -> str | None:
    """A required input that a stored one lacks; None where it lacks none."""
    return next((name for name in schema.get("required", []) if name not in value), None)


def is_unicode(value: Json) -> bool:
    """Whether all texts can be written: JSON can name halves of characters, which no file can hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def frame_of(values: Sequence[Json], schema: Json) -> pd.DataFrame:
    """Make a frame of stored inputs, a row each: encoded files as bytes, all else as it is.

    Columns that no row has are left out, as requests may leave them out.
    """
    names = [name for name in columns_of(schema) if any(name in value for value in values)]
    encoded = {name for name in names if _is_encoded(schema["properties"][name])}
    columns = {name: [_decoded(value.get(name), name in encoded) for value in values] for name in names}
    return pd.DataFrame({name: object_column(column) for name, column in columns.items()}, dtype=object)


def shape_of(frame: pd.DataFrame, schema: Json, row: int) -> str:
    """What distinguishes a row's values in a way that one Parquet file cannot hold: '' or `lists2` for nested lists."""
    kinds = []
    for name in frame.columns:
        value = frame[name].iloc[row]
        if isinstance(value, list) and _is_encoded(schema["properties"].get(name, {})):
            kinds.append(f"lists{np.ndim(np.asarray(value))}")
    return "_".join(kinds)


def arrow_column(values: Sequence[Any]) -> Any:
    """Make a column of one type: bytes, texts, truth values, numbers, or lists of numbers or of texts.

    Whole numbers stay whole; where types are mixed, all values become texts, which mean the same to a preprocessor.
    """
    import pyarrow

    given = [value for value in values if value is not None]
    if any(isinstance(value, list) for value in given):
        return _list_column(values)
    if given and all(isinstance(value, bytes) for value in given):
        return pyarrow.array(list(values), pyarrow.binary())
    if given and all(isinstance(value, bool) for value in given):
        return pyarrow.array(list(values), pyarrow.bool_())
    if given and all(_is_number(value) for value in given):
        if len(given) == len(values) and all(isinstance(value, int) for value in given):
            return pyarrow.array(list(values), pyarrow.int64())
        return pyarrow.array([None if value is None else float(value) for value in values], pyarrow.float64())
    return pyarrow.array([None if value is None else _text(value) for value in values], pyarrow.string())


def _is_encoded(node: Json) -> bool:
    """Whether a property is an encoded file, alone or as one of several forms."""
    forms = [form for key in ("anyOf", "oneOf", "allOf") for form in node.get(key, [])]
    return node.get("contentEncoding") == "base64" or any(_is_encoded(form) for form in forms)


def _decoded(value: Any, encoded: bool) -> Any:
    """The bytes of a base64 text; what is none stays, and the preprocessor will say so."""
    if not encoded or not isinstance(value, str):
        return value
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return value


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < LARGEST_WHOLE)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _list_column(values: Sequence[Any]) -> Any:
    """Lists of pixels as bytes, of other numbers as floats; lists of identifiers as texts."""
    import pyarrow

    arrays = [None if value is None else np.asarray(value) for value in values]
    held = [array for array in arrays if array is not None and array.size]
    if any(array.dtype.kind not in "iuf" for array in held) or not held:
        texts = [None if value is None else [str(one) for one in _listed(value)] for value in values]
        return pyarrow.array(texts, pyarrow.list_(pyarrow.string()))
    whole = all(array.dtype.kind in "iu" for array in held)
    small = whole and all(array.min() >= 0 and array.max() <= LARGEST_BYTE for array in held)
    kind = pyarrow.uint8() if small else pyarrow.int64() if whole else pyarrow.float64()
    for _ in range(max(array.ndim for array in held)):
        kind = pyarrow.list_(kind)
    return pyarrow.array([None if array is None else array.tolist() for array in arrays], kind)


def _listed(value: Any) -> Iterable[Any]:
    """A list's items; a text beside lists is a list whose items are parted, as requests may write a history."""
    return value if isinstance(value, list) else [one for one in re.split(r"[\s,|]+", str(value)) if one]

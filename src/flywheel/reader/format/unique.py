"""One name, one column: names that a table's header, a Parquet schema or a JSON object gives twice are refused.

What reads them would keep one of the two, or give one another name, and which one was meant would be unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flywheel.project.errors import DataError


class RepeatedKeyError(ValueError):
    """A JSON object has one key twice; the text says which, and at which places."""


def check_columns(path: str | Path, names: Sequence[object]) -> None:
    """Refuse a column's name that is there twice.

    Args:
        path: The table, for the message.
        names: The names of its columns, in order; nameless ones may be several.

    Raises:
        DataError: A name is there twice; both places are said.
    """
    found = _repeated(map(str, names))
    if found:
        name, first, second = found
        why = f"has two columns '{name}' (columns {first} and {second})"
        raise DataError(path, None, why, fix="rename one of them, so that each name is one column's")


def parse_json(text: str | bytes) -> Any:
    """Parse JSON as Python's `json` does, but refuse an object that has a key twice.

    Raises:
        RepeatedKeyError: It has.
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_object)


def num_keys(value: Any, num_objects: int) -> int:
    """Count the keys of all objects in parsed JSON.

    Args:
        value: The parsed value.
        num_objects: Maximum number of objects in it; lists are not searched for more.
    """
    found, level = 0, [value]
    while level and num_objects > 0:
        below: list[Any] = []
        for one in level:
            if type(one) is dict:
                found, num_objects = found + len(one), num_objects - 1
                below += one.values()
            elif type(one) is list:
                below += one
        level = below
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        found = _repeated(key for key, _ in pairs)
        if found:
            name, first, second = found
            raise RepeatedKeyError(f"the key '{name[:80]}' is there twice (keys {first} and {second} of an object)")
    return made


def _repeated(names: Iterable[str]) -> tuple[str, int, int] | None:
    """The first name that comes a second time, and its two places, counted from 1."""
    seen: dict[str, int] = {}
    for place, name in enumerate(names, start=1):
        if name in seen:
            return name, seen[name], place
        if name:
            seen[name] = place
    return None

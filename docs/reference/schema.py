"""Walks the dataclasses that say what a settings file may hold: each key with its type, default and meaning."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from docs.reference.markdown import entries, summary

from flywheel.project.kind import Kind
from flywheel.project.settings import bounds_of

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "word or number"}


@dataclass(frozen=True)
class Key:
    """One setting.

    Attributes:
        name: Dotted, below its section.
        type: In words.
        default: As YAML has it; `required` where there is none.
        bounds: What values of the type are accepted; empty: all.
        meaning: What the docstring of its dataclass says.
    """

    name: str
    type: str
    default: str
    bounds: str
    meaning: str


@dataclass(frozen=True)
class Section:
    """The keys of one dataclass.

    Attributes:
        path: Dotted path of the dataclass below the root, `<name>` standing for a name that is chosen freely.
        about: What the dataclass's docstring says first.
        keys: Its settings, in the order of the dataclass.
    """

    path: str
    about: str
    keys: tuple[Key, ...]


def sections(schema: type, path: str = "") -> Iterator[Section]:
    """The sections of a dataclass: its own first, then those of the dataclasses in it."""
    hints = get_type_hints(schema, include_extras=True)
    told = entries(schema.__doc__, "Attributes")
    below: list[Section] = []
    keys = []
    for item in fields(schema):
        inner, suffix = _inner(hints[item.name])
        name = f"{path}.{item.name}".lstrip(".")
        if inner is not None:
            below += sections(inner, name + suffix)
        keys.append(
            Key(
                name, words_for(hints[item.name]), _default(item), bounds_for(hints[item.name]), told.get(item.name, "")
            )
        )
    yield Section(path, summary(schema.__doc__), tuple(keys))
    yield from below


def words_for(hint: Any) -> str:
    """A type in the words of YAML."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind = next((one for one in arguments[1:] if isinstance(one, Kind)), None)
        return words_for(arguments[0]) if kind is None else f"`_target_`: {_base(kind)}"
    if origin is Literal:
        return words_for(type(arguments[0]))
    if origin in (Union, types.UnionType):
        named = dict.fromkeys(words_for(one) for one in arguments if one is not types.NoneType)
        return " or ".join(named) + (", or null" if types.NoneType in arguments else "")
    if origin is list:
        return f"list of {_plural(words_for(arguments[0]))}"
    if origin is dict:
        value = arguments[1]
        return "mapping" if value is Any else f"mapping of names to {_plural(words_for(value))}"
    return "section" if is_dataclass(hint) else _WORDS.get(hint, str(hint))


def bounds_for(hint: Any) -> str:
    """What values of a type are accepted, in words; empty where all are."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in arguments)
    if origin in (Union, types.UnionType):
        return ", or ".join(filter(None, map(bounds_for, arguments)))
    return bounds_for(arguments[0]) if origin is list else bounds_of(hint)


def _base(kind: Kind) -> str:
    return kind.base.rpartition(".")[2]


def _plural(words: str) -> str:
    return words if words.startswith("`") else f"{words}s"


def _inner(hint: Any) -> tuple[Any, str]:
    """The dataclass in a type, and what its place adds to the path; None where there is none."""
    if is_dataclass(hint):
        return hint, ""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return next((one for one in arguments if is_dataclass(one)), None), ""
    if origin in (list, dict) and is_dataclass(arguments[-1]):
        return arguments[-1], "[]" if origin is list else ".<name>"
    return None, ""


def _default(item: dataclasses.Field[Any]) -> str:
    value = item.default_factory() if item.default_factory is not MISSING else item.default
    if value is MISSING:
        return "required"
    return "" if is_dataclass(value) else f"`{as_yaml(value)}`"


def as_yaml(value: Any) -> str:
    """A value as YAML has it, on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")

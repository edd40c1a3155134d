"""Plain data made into settings dataclasses: their keys, types, words and bounds are all checked here.

A setting is declared once, as a field of a dataclass: its words as `Literal`, its bounds as `Annotated` with the marks
of annotated-types, under the names that pydantic gives the common ones. What concerns several settings together is
checked by the dataclass's own method `check`; what other tools call a thing, by its static method `refuse`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

from annotated_types import Ge, Gt, Le, Lt

from flywheel.project.errors import ConfigError, nearest

T = TypeVar("T")
PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Fraction = Annotated[float, Gt(0), Lt(1)]
"""More than none of the whole, and less than all of it."""

FIX = "fix it in conf/ and run `make params`"
_TYPES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
_BOUNDS: dict[type, tuple[str, Callable[[Any, Any], bool], str]] = {
    Ge: ("ge", operator.ge, "at least {}"), Gt: ("gt", operator.gt, "above {}"),
    Le: ("le", operator.le, "at most {}"), Lt: ("lt", operator.lt, "below {}"),
}  # fmt: skip


@runtime_checkable
class ChecksItself(Protocol):
    """A settings dataclass that knows which of its values do not go together."""

    def check(self, where: str) -> None:
        """Refuse values that do not go together.

        Args:
            where: The dotted key of these settings, for messages.

        Raises:
            ConfigError: Some do not.
        """


def settings_from(kind: type[T], raw: Any, where: str) -> T:
    """Read plain data into a settings dataclass.

    Args:
        kind: The dataclass.
        raw: A mapping, as YAML gives it.
        where: The dotted key it stands at, for messages.

    Raises:
        ConfigError: A key is unknown (the nearest is named) or missing; a value has the wrong type, is not known, or is
            out of bounds; or some values do not go together.
    """
    made: T = _typed(kind, raw, where)
    return made


def bounds_of(hint: Any) -> str:
    """The bounds of a type in words, such as `at least 1`; empty where it has none."""
    if get_origin(hint) is not Annotated:
        return ""
    return " and ".join(words.format(f"{limit:g}") for limit, _, words in _limits(hint))


def _typed(kind: Any, value: Any, where: str) -> Any:
    """Turn `value` into the type `kind`, or raise a ConfigError that names the key."""
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    if kind is Any:
        return value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _bounded(kind, _typed(arguments[0], value, where), where)
    if origin in (Union, UnionType):
        return _one_of(arguments, value, where)
    if origin is Literal:
        _expect_word(arguments, value, where)
        return value
    if origin is list:
        _expect(isinstance(value, list), value, "a list", where)
        return [_typed(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        _expect(isinstance(value, dict), value, "a mapping", where)
        return {key: _typed(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    return _scalar(kind, value, where)


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), value, "a mapping", where)
    hints = get_type_hints(kind, include_extras=True)
    refuse = getattr(kind, "refuse", None)
    for key, item in value.items():
        if refuse:
            refuse(key, item, where)
        if key not in hints:
            raise ConfigError(f"unknown key '{key}'", where=where, fix=nearest(str(key), hints))
    given = {key: _typed(hints[key], item, f"{where}.{key}".lstrip(".")) for key, item in value.items()}
    missing = [item.name for item in fields(kind) if item.name not in given and _required(item)]
    if missing:
        raise ConfigError(f"missing key {', '.join(missing)}", where=where, fix="add it in conf/")
    made = kind(**given)
    if isinstance(made, ChecksItself):
        made.check(where)
    return made


def _required(item: Any) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    rest = [kind for kind in kinds if kind is not NoneType]
    if value is None and len(rest) < len(kinds):
        return None
    if len(rest) == 1:
        return _typed(rest[0], value, where)
    for kind in rest:
        try:
            return _typed(kind, value, where)
        except ConfigError:
            continue
    raise ConfigError(f"{value!r} is out of range", where=where, fix=f"use {' or '.join(map(_described, rest))}")


def _described(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return f"{_TYPES.get(base, str(base))}, {bounds_of(kind)}".removesuffix(", ")


def _limits(hint: Any) -> Iterator[tuple[Any, Callable[[Any, Any], bool], str]]:
    """The bounds of a type: each limit, what a value must be to it, and the words for it."""
    for mark in get_args(hint)[1:]:
        if type(mark) in _BOUNDS:
            name, fits, words = _BOUNDS[type(mark)]
            yield getattr(mark, name), fits, words


def _bounded(hint: Any, value: Any, where: str) -> Any:
    if not all(fits(value, limit) for limit, fits, _ in _limits(hint)):  # NaN is within no bounds
        raise ConfigError(f"{value} is out of range", where=where, fix=f"use {bounds_of(hint)}")
    return value


def _expect_word(words: tuple[Any, ...], value: Any, where: str) -> None:
    if not any(type(value) is type(word) and value == word for word in words):
        fix = nearest(value, map(str, words)) if isinstance(value, str) else f"use {', '.join(map(str, words))}"
        raise ConfigError(f"'{value}' is not known", where=where, fix=fix)


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as a string
        try:
            return float(value)
        except ValueError:
            pass
    good = isinstance(value, kind) and not (kind is not bool and isinstance(value, bool))
    _expect(good, value, _TYPES.get(kind, kind.__name__), where)
    return value


def _expect(good: bool, value: Any, wanted: str, where: str) -> None:
    if not good:
        raise ConfigError(f"{value!r} is not {wanted}", where=where, fix=FIX)

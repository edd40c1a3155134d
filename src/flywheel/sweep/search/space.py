"""The space that a sweep searches: Hydra's override syntax as dimensions, and trials drawn from them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flywheel.project.errors import ConfigError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from optuna.trial import Trial as OptunaTrial

DIGITS = 6  # significant ones of a drawn number: what stands in a command line is what was trained
_MAX_GRID = 100_000


@dataclass(frozen=True)
class Dimension:
    """One swept key.

    Attributes:
        key: A dotted key, or a group.
        kind: Kind: choice, int or float.
        choices: The values of a choice, as an override writes them.
        low: Least value of a number.
        high: Greatest value, included.
        step: Between values; None: any.
        log: Whether orders of magnitude are drawn evenly.
        when: `key=value` of another dimension without which this one does not exist; empty: always.
    """

    key: str
    kind: str
    choices: tuple[str, ...] = ()
    low: float = math.nan
    high: float = math.nan
    step: float | None = None
    log: bool = False
    when: str = ""

    def exists(self, params: Mapping[str, str]) -> bool:
        """Whether the dimension is there, given the values of those before it."""
        key, _, value = self.when.partition("=")
        return not self.when or params.get(key) == value

    def in_words(self) -> str:
        """Its values, or where they lie, for people."""
        if self.kind == "choice":
            said = ", ".join(self.choices)
        else:
            step = f" in steps of {self.step:g}" if self.step else ""
            said = f"{self.low:g} to {self.high:g}{step}{', log' if self.log else ''}"
        return f"{said} (where {self.when})" if self.when else said

    @property
    def values(self) -> list[str]:
        """Every value, where they can be counted; empty for others."""
        if self.kind == "choice":
            return list(self.choices)
        if self.step is None and self.kind != "int":
            return []
        step = self.step or 1
        number = math.floor((self.high - self.low) / step + 1e-9) + 1
        return [written(self.low + i * step, self.kind) for i in range(number)]

    @property
    def samples(self) -> list[str]:
        """A few values to check settings with: all of a choice, the bounds of a number."""
        if self.kind == "choice":
            return list(self.choices)
        return [written(self.low, self.kind), written(self.high, self.kind)]

    def suggest(self, trial: OptunaTrial) -> str:
        """Let Optuna draw a value, as an override writes it."""
        if self.kind == "choice":
            return str(trial.suggest_categorical(self.key, self.choices))
        if self.kind == "int":
            step = int(self.step or 1)
            return str(trial.suggest_int(self.key, int(self.low), int(self.high), step=step, log=self.log))
        return written(trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log), self.kind)


def written(value: float, kind: str) -> str:
    """A number as an override writes it."""
    return str(round(value)) if kind == "int" else f"{value:.{DIGITS}g}"


def parse(words: Sequence[str]) -> list[Override]:
    """Parse overrides.

    Raises:
        ConfigError: One cannot be parsed.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return list(OverridesParser.create().parse_overrides(list(words)))
    except HydraException as error:
        what = str(error).strip().splitlines()[0]
        raise ConfigError(what, where="command line or sweep.params", fix="quote it: 'key=[a, b]'") from None


def split(overrides: Sequence[Override]) -> tuple[list[str], list[Override]]:
    """Part a command line's overrides into those that all trials share, and those that sweep."""
    base = [str(one.input_line) for one in overrides if not one.is_sweep_override()]
    return base, [one for one in overrides if one.is_sweep_override()]


def dimensions(params: Mapping[str, Any], swept: Sequence[Override], method: str) -> list[Dimension]:
    """Make the space of `sweep.params` and of the command line's sweeps; the latter replace equal keys.

    Args:
        params: Key -> values in override syntax, or `{values, when}`.
        swept: Overrides of the command line that sweep.
        method: The method of the search: `grid` takes only what can be counted, and ranges as their values.

    Raises:
        ConfigError: A key's values are not a sweep, cannot be counted in a grid, or depend on a key that comes later.
    """
    found: dict[str, Dimension] = {}
    for key, given in params.items():
        values, when = (given.get("values"), given.get("when", "")) if isinstance(given, Mapping) else (given, "")
        if values is None or (isinstance(given, Mapping) and set(given) - {"values", "when"}):
            what = "has neither values in override syntax nor `values:` and `when:`"
            raise ConfigError(what, where=f"sweep.params.{key}", fix="for one: interval(0, 0.5)")
        (override,) = parse([f"{key}={values}"])
        if not override.is_sweep_override():
            raise ConfigError(f"'{values}' is a single value", where=f"sweep.params.{key}", fix="for one: choice(a, b)")
        found[key] = replace(_dimension(override, method), when=str(when))
    for override in swept:
        made = _dimension(override, method)
        found.pop(made.key, None)
        found[made.key] = made
    for one in found.values():
        _check_when(one, found)
    return list(found.values())


def combinations(space: Sequence[Dimension]) -> Iterator[dict[str, str]]:
    """Every combination of the values of a space that can be counted, the last dimension changing first."""
    seen = set()
    for values in itertools.product(*(one.values for one in space)):
        params: dict[str, str] = {}
        for dimension, value in zip(space, values, strict=True):
            if dimension.exists(params):
                params[dimension.key] = value
        if (key := tuple(params.items())) not in seen:
            seen.add(key)
            yield params


def num_combinations(space: Sequence[Dimension]) -> int | None:
    """How many combinations there are; None where they cannot be counted, or are too many to list."""
    counts = [len(one.values) for one in space if one.values]
    if len(counts) < len(space) or math.prod(counts) > _MAX_GRID:
        return None
    return sum(1 for _ in combinations(space))


def overrides_of(params: Mapping[str, str]) -> list[str]:
    """Write params as overrides."""
    return [f"{key}={value}" for key, value in params.items()]


def _dimension(override: Override, method: str) -> Dimension:
    key, where = override.get_key_element(), f"the search space of {override.get_key_element()}"
    value: Any = override.value()
    log = "log" in value.tags
    if override.is_interval_sweep():
        if method == "grid":
            fix = f"name values ({key}=1e-3,1e-2), or use +sweep=random or +sweep=tpe"
            raise ConfigError("an interval has no end of values, a grid needs some", where=where, fix=fix)
        return _numbers(key, where, value.start, value.end, None, log)
    if override.is_range_sweep() and method != "grid" and not value.shuffle:
        values = [float(one) for one in override.sweep_iterator()]  # type: ignore[arg-type]  # of a range: numbers
        if len(values) > 1 and value.step > 0:
            whole = all(isinstance(x, int) for x in (value.start, value.step))
            low, high = (round(values[0]), round(values[-1])) if whole else (values[0], values[-1])
            return _numbers(key, where, low, high, value.step, log)
    choices = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if not choices:
        raise ConfigError("has no values", where=where, fix="name at least one")
    return Dimension(key, "choice", choices)


def _numbers(key: str, where: str, low: float, high: float, step: float | None, log: bool) -> Dimension:
    kind = "int" if isinstance(low, int) and isinstance(high, int) and "." not in f"{low}{high}" else "float"
    if not low < high:
        raise ConfigError(f"{low} is not below {high}", where=where, fix="give the lower bound first")
    if log and low <= 0:
        raise ConfigError(f"{low} has no logarithm", where=where, fix="begin above 0")
    if log and step not in (None, 1):
        raise ConfigError("steps and log do not go together", where=where, fix="use an interval")
    return Dimension(key, kind, low=low, high=high, step=None if log else step, log=log)


def _check_when(one: Dimension, found: Mapping[str, Dimension]) -> None:
    if not one.when:
        return
    key, equals, value = one.when.partition("=")
    where, parent = f"sweep.params.{one.key}.when", found.get(key)
    if not equals or parent is None or list(found).index(key) > list(found).index(one.key):
        raise ConfigError(f"'{one.when}' names no key before it", where=where, fix="write other.key=value")
    if parent.kind == "choice" and value not in parent.choices:
        raise ConfigError(f"'{value}' is not one of {', '.join(parent.choices)}", where=where, fix="name one of them")

"""Finds what a setting may be by asking the checks themselves: which numbers they accept, which words they name.

The checks are functions, so nothing else says what they allow. All other settings have their defaults meanwhile: a
bound that depends on another setting is the one that holds for its default.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flywheel.project.errors import ConfigError

NONSENSE = "?"
FAR = 10**12
_WORDS = re.compile(r"(?:valid:|none of|give) ([\w, -]+)(?:;|$)")


@dataclass(frozen=True)
class Asked:
    """Settings, and what checks them.

    Attributes:
        settings: A dataclass whose values are all accepted.
        check: Raises ConfigError where a value is not accepted.
    """

    settings: Any
    check: Callable[[Any], Any]

    def refusal(self, path: str, value: Any) -> str | None:
        """What the check says where one setting has another value; None where it accepts it."""
        changed = copy.deepcopy(self.settings)
        *parents, name = path.split(".")
        holder = changed
        for parent in parents:
            holder = getattr(holder, parent)
        setattr(holder, name, value)
        try:
            self.check(changed)
        except ConfigError as error:
            return str(error)
        return None

    def value(self, path: str) -> Any:
        """The value of a setting."""
        found = self.settings
        for name in path.split("."):
            found = getattr(found, name)
        return found


def bounds(asked: Asked, path: str, *, takes_numbers: bool) -> str:
    """What a setting may be, in a few words; empty where the check accepts anything of its type.

    Args:
        asked: The settings, and what checks them.
        path: Dotted, below the settings.
        takes_numbers: Whether numbers are of the setting's type, which a value of null does not say.
    """
    value = asked.value(path)
    if isinstance(value, bool):
        return ""
    if isinstance(value, int | float):
        return _range(lambda number: asked.refusal(path, number) is None, value)
    if isinstance(value, str | list):
        return _words(asked, path, value)
    return _range(lambda number: asked.refusal(path, number) is None, 1) if takes_numbers else ""


def _words(asked: Asked, path: str, value: str | list[str]) -> str:
    for wrong in [NONSENSE] if isinstance(value, str) else [[NONSENSE], [*value, NONSENSE]]:
        said = asked.refusal(path, wrong)
        if said and (found := _WORDS.search(said)):
            return ", ".join(f"`{word}`" for word in found[1].split(", "))
    return ""


def _range(accepts: Callable[[float], bool], inside: float) -> str:
    whole = isinstance(inside, int)
    low = None if accepts(-FAR) else _edge(accepts, inside, -FAR, whole=whole)
    high = None if accepts(FAR) else _edge(accepts, inside, FAR, whole=whole)
    if whole and low is not None and low > 1 and accepts(0) and high is None:  # 0 has a meaning of its own
        return f"0, or {low} or more"
    if low is None and high is None:
        return ""
    if high is None:
        return f"{_number(low)} or more" if accepts(low) else f"above {_number(low)}"
    if low is None:
        return f"{_number(high)} or less" if accepts(high) else f"below {_number(high)}"
    if accepts(low) and accepts(high):
        return f"{_number(low)} to {_number(high)}"
    first = f"{_number(low)} or more" if accepts(low) else f"above {_number(low)}"
    return f"{first}, {'at most' if accepts(high) else 'below'} {_number(high)}"


def _edge(accepts: Callable[[float], bool], inside: float, outside: float, *, whole: bool) -> float:
    """The last accepted whole number between two numbers; of other numbers, the one where acceptance ends."""
    if whole:
        if inside > 2 and outside < 0 and not accepts(1):  # below a gap there may be a 0 with a meaning of its own
            outside = 1
        while abs(outside - inside) > 1:
            middle = (inside + outside) // 2
            inside, outside = (middle, outside) if accepts(middle) else (inside, middle)
        return inside
    for _ in range(120):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if accepts(middle) else (inside, middle)
    return round((inside + outside) / 2, 9) + 0.0


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"

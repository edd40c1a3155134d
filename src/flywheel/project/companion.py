"""Modules that belong to a class of another room: the traits, or the row, of what `TextPreprocessor` reads.

A room that must do something of its own with each kind of data asks here for the module that has it, and never which
kind there is. For a class of a modality it lies in the modality's folder, `modality/text/row.py`; for a class of
`preprocessor/` in the room that asks.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
from types import ModuleType
from typing import Any

ENGINE = "flywheel.preprocessor"
MODALITIES = "flywheel.modality"


@functools.cache  # a server asks for each row, and to look for a module costs more than a row
def companion_of(kind: type, role: str, package: str = "", fallback: str = "") -> Any:
    """Find the module of a role for a class, or for the nearest class that it inherits from.

    Args:
        kind: A Preprocessor or a Target.
        role: `row` or `traits`. Of a modality's target it is the module `target_row`, `target_traits`.
        package: Full name of the package that has the modules for classes of `preprocessor/`, named as theirs; empty:
            they have none.
        fallback: The package's module where there is none; empty: None is given then.
    """
    for parent in kind.__mro__:
        home, _, name = parent.__module__.rpartition(".")
        room, _, data = home.removeprefix(f"{MODALITIES}.").partition(".")
        if home.startswith(f"{MODALITIES}.") and data == "data":
            full = f"{MODALITIES}.{room}.{role}" if name == "preprocessor" else f"{MODALITIES}.{room}.{name}_{role}"
        elif package and home == ENGINE and name != "base":
            full = f"{package}.{name}"
        else:
            continue
        if importlib.util.find_spec(full) is not None:
            return importlib.import_module(full)
    return importlib.import_module(f"{package}.{fallback}") if fallback else None


def modules_of(role: str) -> dict[str, ModuleType]:
    """The modules of a role in all modalities that have one, by the name of the room, in the order of the alphabet."""
    rooms = importlib.import_module(MODALITIES)
    names = sorted(found.name for found in pkgutil.iter_modules(rooms.__path__) if found.ispkg)
    full = {name: f"{MODALITIES}.{name}.{role}" for name in names}
    return {name: importlib.import_module(one) for name, one in full.items() if importlib.util.find_spec(one)}

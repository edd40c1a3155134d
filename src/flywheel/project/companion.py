"""Modules that belong to a class of another package: `text.py` here to `TextPreprocessor` of `preprocessor/text.py`.

A package that must do something of its own with each kind of preprocessor has a module for each, named after the
module of the preprocessor; nothing else asks which kind there is.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

HOME = "flywheel.preprocessor"


@functools.cache  # a server asks for each row, and to look for a module costs more than a row
def companion_of(kind: type, package: str, fallback: str = "") -> Any:
    """Find a package's module for a class, or for the nearest class that it inherits from.

    Args:
        kind: A Preprocessor or a Target.
        package: Full name of the package to look in.
        fallback: The module where there is none; empty: None is given then.
    """
    for parent in kind.__mro__:
        home, _, name = parent.__module__.rpartition(".")
        full = f"{package}.{name}"
        if home == HOME and name != "base" and importlib.util.find_spec(full) is not None:
            return importlib.import_module(full)
    return importlib.import_module(f"{package}.{fallback}") if fallback else None

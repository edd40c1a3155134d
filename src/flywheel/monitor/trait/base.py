"""From rows and answers to traits, whatever kind they are of."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

from flywheel.preprocessor.base import Preprocessor
from flywheel.preprocessor.target import Target
from flywheel.project.companion import companion_of
from flywheel.reader.format.value import name_of

Array = np.ndarray[Any, Any]

Traits = dict[str, Array]
"""Name -> one value a row: float32 (NaN where it is missing), or an object array of texts for categories."""

MISSING = "(missing)"
FALLBACK = "array"
"""The module for a preprocessor that has none of its own."""


def row_traits(inputs: Preprocessor, frame: pd.DataFrame) -> Traits:
    """Give the traits of raw rows, as `Preprocessor.transform` takes them.

    Rows that cannot be used are left out: a server has refused them, and training has dropped them.
    """
    cleaned, _ = inputs.clean(frame)
    if not len(cleaned):
        return {}
    return cast(Traits, module_of(type(inputs)).row_traits(inputs, cleaned))


def answer_traits(target: Target, answers: pd.DataFrame) -> Traits:
    """Give the traits of answers, as `Target.decode` gives them; none where the kind of target has none."""
    if not len(answers):
        return {}
    found = module_of(type(target), "")
    return cast(Traits, found.answer_traits(target, answers)) if found is not None else {}


def same_label(answered: Any, said: Any) -> bool:
    """Whether two labels are one, as people write them: 3, 3.0 and `3 ` are, and True and TRUE."""
    return name_of(answered) == name_of(said)


def module_of(kind: type, fallback: str = FALLBACK) -> Any:
    """Find the traits' module of a class, or of the nearest class that it inherits from.

    Args:
        kind: A Preprocessor or a Target.
        fallback: The module where there is none; empty: None is given then.
    """
    return companion_of(kind, "traits", str(__package__), fallback)


def numbers(values: Any) -> Array:
    """Give numbers as float32: equal values stay equal, in a file as in memory."""
    return np.asarray(values, np.float64).astype(np.float32)


def categories(values: Any) -> Array:
    """Give categories as texts, `(missing)` where there is none."""
    texts = [MISSING if value is None or value != value else str(value) for value in values]
    return np.array([*texts, None], dtype=object)[:-1]


def concatenated(parts: list[Traits]) -> Traits:
    """Put the traits of several frames one after the other."""
    known = [part for part in parts if part]
    return {name: np.concatenate([part[name] for part in known]) for name in known[0]} if known else {}

"""Traits of rows of any kind: moments and a few projections of the arrays that the network takes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from flywheel.monitor.trait.base import Array, Traits, numbers
from flywheel.preprocessor.base import Preprocessor

NUM_PROJECTIONS = 8
SEED = 20261125


def row_traits(inputs: Preprocessor, frame: pd.DataFrame) -> Traits:
    """Give mean, spread and projections of each input."""
    found: Traits = {}
    for name, values in inputs.transform(frame).items():
        flat = values.reshape(len(values), -1).astype(np.float64)
        found[f"{name}: mean"] = numbers(flat.mean(axis=1))
        if flat.shape[1] > 1:
            found[f"{name}: spread"] = numbers(flat.std(axis=1))
            found |= projections(name, flat)
    return found


def projections(name: str, flat: Array) -> Traits:
    """Give random projections, always the same ones for rows of one width: what moves them is a change of pattern.

    Args:
        name: The name of the input.
        flat: [N, D].
    """
    directions = np.random.default_rng(SEED).standard_normal((flat.shape[1], NUM_PROJECTIONS)) / np.sqrt(flat.shape[1])
    found = flat @ directions
    return {f"{name}: pattern {place + 1}": numbers(found[:, place]) for place in range(NUM_PROJECTIONS)}

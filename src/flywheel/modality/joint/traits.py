"""Traits of rows that several preprocessors share: each part's, under its name."""

from __future__ import annotations

from typing import cast

import pandas as pd

from flywheel.modality.joint.data.preprocessor import JointPreprocessor
from flywheel.monitor.trait.base import Traits, module_of
from flywheel.preprocessor.base import Preprocessor


def reference_splits(inputs: Preprocessor, usual: tuple[str, ...]) -> tuple[str, ...]:
    """The splits whose rows are like requests for every part."""
    own = [
        getattr(module_of(type(part)), "REFERENCE_SPLITS", usual)
        for part in cast(JointPreprocessor, inputs).parts.values()
    ]
    return tuple(name for name in usual if all(name in splits for splits in own))


def row_traits(inputs: Preprocessor, frame: pd.DataFrame) -> Traits:
    """Give every part's traits, of the columns that it sees."""
    return {
        f"{name}: {trait}": values
        for name, part in cast(JointPreprocessor, inputs).parts.items()
        for trait, values in module_of(type(part)).row_traits(part, frame).items()
    }

"""Rows that several preprocessors share: the parts and choices of each."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pandas as pd

from flywheel.modality.joint.data.preprocessor import JointPreprocessor
from flywheel.preprocessor.base import Preprocessor
from flywheel.project.types import Json
from flywheel.serving import row as base
from flywheel.serving.row import Field, Load, Parts


def choices_of(inputs: Preprocessor) -> dict[str, list[Json]]:
    """Give each one's choices."""
    parts = cast(JointPreprocessor, inputs).parts.values()
    return {name: choices for part in parts for name, choices in base.choices_of(part).items()}


def fields_of(inputs: Preprocessor) -> dict[str, Field]:
    """Give each one's fields."""
    parts = cast(JointPreprocessor, inputs).parts.values()
    return {name: field for part in parts for name, field in base.fields_of(part).items()}


def load_of(inputs: Preprocessor, row: Json) -> Load:
    """Add up what each one's columns hold."""
    parts = cast(JointPreprocessor, inputs).parts.values()
    return Load(*map(sum, zip(*(base.load_of(part, row) for part in parts), strict=True)))


def parts_of(inputs: Preprocessor, frame: pd.DataFrame) -> list[Parts]:
    """Give each one's parts of the columns that it sees; all other columns stay as they are."""
    found = []
    for name, part in cast(JointPreprocessor, inputs).parts.items():
        view = cast(JointPreprocessor, inputs).view(frame, name)
        for group in base.parts_of(part, view):
            rows = frame.iloc[[0] * len(group.frame)].reset_index(drop=True)
            for column in group.frame.columns:
                rows[column] = group.frame[column].to_numpy(object)
            found.append(replace(group, frame=rows, input=f"{name}: {group.input}" if group.input else name))
    return found

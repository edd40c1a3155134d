"""A text's parts: its words, left out."""

from __future__ import annotations

import re
from typing import cast

import numpy as np
import pandas as pd

from flywheel.modality.text.data.preprocessor import TextPreprocessor
from flywheel.preprocessor.base import Preprocessor
from flywheel.project.types import Json
from flywheel.serving.row import MAX_PARTS, Load, Parts, characters_of, hidden_rows, one_each

_WORD = re.compile(r"\S+")


def load_of(inputs: Preprocessor, row: Json) -> Load:
    """Count the text's characters."""
    return Load(characters=characters_of(row.get(cast(TextPreprocessor, inputs).column)))


def parts_of(inputs: Preprocessor, frame: pd.DataFrame) -> list[Parts]:
    """Give the words, or of a long text runs of words; a text of one word has no parts: nothing would be left."""
    column = cast(TextPreprocessor, inputs).column
    text = str(frame[column].iloc[0])
    spans = np.array([found.span() for found in _WORD.finditer(text)], int).reshape(-1, 2)
    runs = np.array_split(spans, min(MAX_PARTS, len(spans))) if len(spans) else []
    places = [(int(run[0, 0]), int(run[-1, 1])) for run in runs]
    hidden = hidden_rows(frame, column, [text[:start] + text[end:] for start, end in places])
    kept, _ = inputs.clean(hidden)
    usable = np.isin(np.arange(len(hidden)), kept.index.to_numpy())
    about = {"text": text, "spans": [list(place) for place, use in zip(places, usable, strict=True) if use]}
    return [Parts("words", hidden[usable], one_each(int(usable.sum())), about, column)]

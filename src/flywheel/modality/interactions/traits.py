"""Traits of requests for items: who asks, how much is known of them, and how popular what they had is."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd

from flywheel.modality.interactions.data.histories import columns_of
from flywheel.modality.interactions.data.preprocessor import InteractionsPreprocessor
from flywheel.monitor.trait.base import Traits, categories, numbers
from flywheel.preprocessor.base import Preprocessor

REFERENCE_SPLITS = ("validation",)
"""Rows of train are one an interaction, so that they show active users more often than requests do."""


def row_traits(inputs: Preprocessor, frame: pd.DataFrame) -> Traits:
    """Give whether the user is known, the length of the history, and how popular its items are in train."""
    ranker = cast(InteractionsPreprocessor, inputs)
    arrays, counts = ranker.transform(frame), np.array([0, *ranker.meta()["item_counts"]], np.float64)
    users, given = columns_of(frame)
    held = arrays["history"] > 0
    length = held.sum(axis=1)
    popularity = (np.log1p(counts)[arrays["history"]] * held).sum(axis=1) / np.maximum(1, length)
    sent = np.array([len(history) if history is not None else 0 for history in given])
    known = np.minimum(length, sent)
    who = ["none" if user is None else "known" if code else "new"
           for user, code in zip(users, arrays["user"], strict=True)]  # fmt: skip
    return {
        "user": categories(who),
        "history length": numbers(np.log1p(length)),
        "history popularity": numbers(np.where(length > 0, popularity, np.nan)),
        "unknown items": numbers(np.where(sent > 0, (sent - known) / np.maximum(1, sent), 0.0)),
    }

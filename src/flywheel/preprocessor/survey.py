"""The first pass over a split: which rows can be used, their labels and their fingerprints.

Of every row 21 bytes are kept: a fingerprint (16), its label's code (4) and the part it is given to (1); 4 more where
the reader gives groups, and 8 more where the preprocessor knows near-duplicates.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from flywheel.errors import DataError
from flywheel.preprocessor.base import Preprocessor
from flywheel.preprocessor.target import Target
from flywheel.types import Dropped, Json, Split

UNUSABLE = -1
MAX_NAMED = 100
"""Rows, and reasons, that are named one by one; all are counted."""

OTHER_REASONS = "other reasons"


class Vocabulary:
    """Codes of labels, in the order in which they are first seen; a target that is no class has only code 0."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        """The labels by code."""
        return list(self.codes)

    def encode(self, labels: pd.Series) -> np.ndarray[Any, Any]:
        """Give each label's code, and new labels a new one."""
        places, distinct = pd.factorize(labels)
        known = [self.codes.setdefault(str(label), len(self.codes)) for label in distinct]
        return np.array(known, dtype=np.int32)[places]


@dataclass
class DroppedRows:
    """How many rows were dropped and why, the first of them by name."""

    num_rows: int = 0
    reasons: dict[str, Json] = field(default_factory=dict)

    def add(self, row: int, why: str, file: str | None) -> None:
        """Count one row."""
        self.num_rows += 1
        if why not in self.reasons and len(self.reasons) >= MAX_NAMED:
            why = OTHER_REASONS
        reason = self.reasons.setdefault(why, {"why": why, "num_rows": 0, "rows": []})
        reason["num_rows"] += 1
        if len(reason["rows"]) < MAX_NAMED:
            reason["rows"].append(row if file is None else {"row": row, "file": file})

    def most(self) -> Json:
        """The reason that most rows were dropped for."""
        return max(self.reasons.values(), key=lambda reason: int(reason["num_rows"]))


@dataclass
class Survey:
    """What the first pass found in one split.

    Attributes:
        name: train, validation or test.
        split: What was read.
        digests: uint64 [N, 2], of every usable row's inputs.
        codes: int32 [N], the label's code in the vocabulary; `UNUSABLE` where the row is dropped.
        dropped: The rows that cannot be used.
        groups: int32 [N], the code of each row's group in `group_names`; None where the reader gives no groups.
        near: uint64 [N], the fingerprint of each usable row's gist; None where the preprocessor has none.
        group_names: By code.
    """

    name: str
    split: Split
    digests: np.ndarray[Any, Any]
    codes: np.ndarray[Any, Any]
    dropped: DroppedRows
    groups: np.ndarray[Any, Any] | None = None
    near: np.ndarray[Any, Any] | None = None
    group_names: list[str] = field(default_factory=list)

    @property
    def units(self) -> np.ndarray[Any, Any] | None:
        """What must not be torn apart, by row: groups, or else near-duplicates; None: rows are drawn one by one."""
        return self.near if self.groups is None else self.groups

    @property
    def usable(self) -> np.ndarray[Any, Any]:
        """Which rows can be used, bool [N]."""
        return np.asarray(self.codes != UNUSABLE)


def survey(name: str, split: Split, inputs: Preprocessor, target: Target, words: Vocabulary, chunk_rows: int) -> Survey:
    """Read a split once, clean it, and keep what later decisions need.

    Raises:
        DataError: The split is empty, has no labels, or gives another number of rows than it said.
    """
    if split.num_rows == 0:
        raise DataError(split.file, None, f"{name} has no rows")
    digests = np.zeros((split.num_rows, 2), np.uint64)
    codes = np.full(split.num_rows, UNUSABLE, np.int32)
    dropped = DroppedRows()
    groups, near, known = None, None, Vocabulary()
    for frame in checked_chunks(split, chunk_rows, f"clean {name}"):
        kept, lost = inputs.clean(frame)
        labels, reasons = target.clean(kept["label"])
        unlabelled = reasons.notna()
        lost += [Dropped(int(row), str(why)) for row, why in reasons[unlabelled].items()]  # type: ignore[call-overload]
        for drop in sorted(lost, key=lambda drop: drop.row):
            file = str(frame.at[drop.row, "file"]) if "file" in frame.columns else None
            dropped.add(drop.row, drop.why, file)
        kept, labels = kept[~unlabelled], labels[~unlabelled]
        if len(kept):
            rows = kept.index.to_numpy()
            digests[rows] = inputs.digest(kept)
            codes[rows] = words.encode(labels) if target.stratified else 0
            if "group" in kept.columns:
                groups = np.full(split.num_rows, UNUSABLE, np.int32) if groups is None else groups
                groups[rows] = known.encode(_own_where_missing(kept["group"]))
            gist = inputs.near(kept)
            if gist is not None:
                near = np.zeros(split.num_rows, np.uint64) if near is None else near
                near[rows] = gist
    return Survey(name, split, digests, codes, dropped, groups, near, known.names)


def _own_where_missing(groups: pd.Series) -> pd.Series:
    """Give the groups as text; a row without one is a group of its own."""
    given = groups.astype(object)
    absent = given.isna() | (given.astype(str).str.strip() == "")
    alone = pd.Series([f"row {row} without a group" for row in groups.index], index=groups.index, dtype=object)
    return given.mask(absent, alone)


def checked_chunks(split: Split, chunk_rows: int, what: str) -> Iterator[pd.DataFrame]:
    """Read a split with a progress bar (on a terminal), and check that its rows are the ones it promised.

    Raises:
        DataError: A frame has no labels, or rows are missing, or too many.
    """
    done = 0
    with tqdm(total=split.num_rows, desc=what, unit=" rows", leave=False, disable=not sys.stderr.isatty()) as bar:
        for frame in split.chunks(chunk_rows):
            if "label" not in frame.columns:
                mend = "mend the label's column in conf/data/"
                raise DataError(split.file, None, "has no labels", mend=mend)
            if len(frame) and (frame.index[0] != done or done + len(frame) > split.num_rows):
                raise _other_rows(split, done)
            done += len(frame)
            yield frame
            bar.update(len(frame))
    if done != split.num_rows:
        raise _other_rows(split, done)


def _other_rows(split: Split, row: int) -> DataError:
    mend = "run the stage again if the file changed meanwhile, else mend its reader"
    return DataError(split.file, row, f"the rows read are not the {split.num_rows} that were announced", mend=mend)


def check_dropped(surveyed: Survey, max_dropped: float) -> None:
    """Fail when cleaning dropped too large a share of a split.

    Raises:
        DataError: More than `max_dropped` of the rows cannot be used, or none can.
    """
    dropped, total = surveyed.dropped, surveyed.split.num_rows
    if not dropped.num_rows or (dropped.num_rows <= max_dropped * total and dropped.num_rows < total):
        return
    reason = dropped.most()
    first = reason["rows"][0]
    row, file = (first["row"], first["file"]) if isinstance(first, dict) else (first, None)
    why = (
        f"{dropped.num_rows} of {total} {surveyed.name} rows cannot be used ({dropped.num_rows / total:.1%}, limit "
        f"{max_dropped:.1%}); {reason['num_rows']} of them like this one: {reason['why']}"
    )
    place = surveyed.split.file if file is None else file
    raise DataError(place, row, why, mend="mend the rows, or raise preprocess.max_dropped")

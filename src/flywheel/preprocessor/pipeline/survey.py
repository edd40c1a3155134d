"""The first pass over a split: which rows can be used, their labels and their fingerprints.

Of every row 21 bytes are kept: a fingerprint (16), its label's code (4) and the part it is given to (1); 4 more where
the reader gives groups, 8 more where it gives weights, where the preprocessor knows near-duplicates, and where the
target is not a class.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from flywheel.preprocessor.base import SAMPLE_WEIGHT, Preprocessor
from flywheel.preprocessor.pipeline.engine import Engine, Pass, checked
from flywheel.preprocessor.target import Target
from flywheel.preprocessor.values import ValueRules, numbers_of
from flywheel.project.errors import DataError
from flywheel.project.types import Dropped, Json, Split
from flywheel.reader.format.value import names_of

Array = np.ndarray[Any, Any]

UNUSABLE = -1
MAX_NAMED = 100
"""Rows, and reasons, that are named one by one; all are counted."""

OTHER_REASONS = "other reasons"
WEIGHTS = (1e-15, 1e15)
"""Between these a batch's sum of weights is exact enough in 32 bits, whatever rows come together."""


class Vocabulary:
    """Codes of labels, in the order in which they are first seen; a target that is no class has only code 0."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        """The labels by code."""
        return list(self.codes)

    def take(self, codes: Array, names: list[str]) -> Array:
        """Give the codes here of labels that have codes in a list of their own, and new labels a new one.

        Args:
            codes: Codes of the labels, int32 [N].
            names: Names by code, in the order in which they were first seen.
        """
        known = [self.codes.setdefault(name, len(self.codes)) for name in names]
        return np.array(known, dtype=np.int32)[codes]


def coded(labels: pd.Series) -> tuple[Array, list[str]]:
    """Give each label's place, int32 [N], among the different ones, and these in the order of their first row."""
    places, distinct = pd.factorize(labels)
    return places.astype(np.int32), list(map(str, distinct))


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
        split: The split from the reader.
        digests: uint64 [N, 2], of every usable row's inputs.
        codes: int32 [N], the label's code in the vocabulary; `UNUSABLE` where the row is dropped.
        dropped: The rows that cannot be used.
        groups: int32 [N], the code of each row's group in `group_names`; None where the reader gives no groups.
        near: uint64 [N], the fingerprint of each usable row's gist; None where the preprocessor has none.
        group_names: Names of groups, by code.
        answers: uint64 [N], a fingerprint of each usable row's label; None where the target is a class, which `codes`
            tells apart.
        weights: float64 [N], what each usable row counts, 0 where its file does not say; None where the reader gives no
            weights.
    """

    name: str
    split: Split
    digests: Array
    codes: Array
    dropped: DroppedRows
    groups: Array | None = None
    near: Array | None = None
    group_names: list[str] = field(default_factory=list)
    answers: Array | None = None
    weights: Array | None = None

    @property
    def labels(self) -> Array:
        """Hashes of the rows' labels, uint64 [N]: equal where, and only where, the labels are."""
        return self.codes.astype(np.uint64) if self.answers is None else self.answers

    @property
    def units(self) -> Array | None:
        """Rows that must stay together, by row: groups, or else near-duplicates; None: rows are drawn one by one."""
        return self.near if self.groups is None else self.groups

    @property
    def usable(self) -> Array:
        """Which rows can be used, bool [N]."""
        return np.asarray(self.codes != UNUSABLE)


@dataclass
class Cleaned:
    """Result of cleaning one chunk, in any process.

    Attributes:
        columns: The columns of the raw frame.
        rows: int64 [n], the numbers of its usable rows.
        lost: Each other row in order, and the file it is in, where rows have one.
        digests: uint64 [n, 2].
        labels: Codes, int32 [n], in these names; None where the target is not a class.
        groups: Likewise; None where the reader gives no groups.
        near: uint64 [n]; None where the preprocessor has no such fingerprints.
        answers: uint64 [n], fingerprints of labels; None where the target is a class.
        weights: float64 [n]; None where the reader gives no weights.
    """

    columns: list[str]
    rows: Array
    lost: list[tuple[Dropped, str | None]]
    digests: Array
    labels: tuple[Array, list[str]] | None = None
    groups: tuple[Array, list[str]] | None = None
    near: Array | None = None
    answers: Array | None = None
    weights: Array | None = None


@dataclass(frozen=True)
class Cleaning:
    """The first pass's work on a chunk, independent of other chunks once `inputs` is settled."""

    inputs: Preprocessor
    target: Target

    def __call__(self, frame: pd.DataFrame, _: Any) -> Cleaned:
        """Clean a chunk, and take fingerprints of what is left."""
        kept, lost = self.inputs.clean(frame)
        labels, reasons = self.target.clean(kept["label"])
        weights = None
        if SAMPLE_WEIGHT in frame.columns:
            weights, faults = read_weights(frame.loc[kept.index, SAMPLE_WEIGHT])
            reasons = reasons.where(reasons.notna(), faults)
        unlabelled = reasons.notna()
        lost += [Dropped(int(row), str(why)) for row, why in reasons[unlabelled].items()]  # type: ignore[call-overload]
        has_files = "file" in frame.columns
        named = [(drop, str(frame.at[drop.row, "file"]) if has_files else None)
                 for drop in sorted(lost, key=lambda drop: drop.row)]  # fmt: skip
        kept, labels = kept[~unlabelled], labels[~unlabelled]
        found = Cleaned(list(map(str, frame.columns)), kept.index.to_numpy(), named, np.empty((0, 2), np.uint64))
        if len(kept):
            found.digests = self.inputs.digest(kept)
            found.labels = coded(labels) if self.target.stratified else None
            found.answers = None if self.target.stratified else _fingerprints(labels)
            found.groups = coded(_own_where_missing(kept["group"])) if "group" in kept.columns else None
            found.near = self.inputs.near(kept)
            found.weights = None if weights is None else weights[~unlabelled.to_numpy()]
        return found


def survey(name: str, engine: Engine, inputs: Preprocessor, target: Target, words: Vocabulary, rows: int) -> Survey:
    """Read a split once, clean it, and keep what later decisions need.

    Args:
        name: Name of the split.
        engine: Engine that cleans the chunks.
        inputs: Preprocessor that cleans examples.
        target: Target that cleans labels.
        words: The labels' codes; new ones are added.
        rows: Maximum number of rows in memory.

    Raises:
        DataError: The split is empty, has no labels, or gives another number of rows than it said.
    """
    split = engine.splits[name]
    if split.num_rows == 0:
        raise DataError(split.file, None, f"{name} has no rows")
    digests = np.zeros((split.num_rows, 2), np.uint64)
    codes = np.full(split.num_rows, UNUSABLE, np.int32)
    dropped = DroppedRows()
    groups, near, weights, known = None, None, None, Vocabulary()
    answers = None if target.stratified else np.zeros(split.num_rows, np.uint64)
    if not engine.in_order:
        _settle(inputs, split, rows)
    for found in engine.each(Pass(name, f"clean {name}", rows), Cleaning(inputs, target)):
        inputs.met(found.columns)
        for drop, file in found.lost:
            dropped.add(drop.row, drop.why, file)
        if not len(found.rows):
            continue
        digests[found.rows] = found.digests
        codes[found.rows] = 0 if found.labels is None else words.take(*found.labels)
        if found.groups is not None:
            groups = np.full(split.num_rows, UNUSABLE, np.int32) if groups is None else groups
            groups[found.rows] = known.take(*found.groups)
        if found.near is not None:
            near = np.zeros(split.num_rows, np.uint64) if near is None else near
            near[found.rows] = found.near
        if answers is not None and found.answers is not None:
            answers[found.rows] = found.answers
        if found.weights is not None:
            weights = np.zeros(split.num_rows) if weights is None else weights
            weights[found.rows] = found.weights
    return Survey(name, split, digests, codes, dropped, groups, near, known.names, answers, weights)


def _settle(inputs: Preprocessor, split: Split, rows: int) -> None:
    """Clean the first rows here until those that follow can be cleaned apart from each other."""
    frames = checked(split.chunks(rows), split)
    while not inputs.settled and (frame := next(frames, None)) is not None:
        inputs.clean(frame)


def read_weights(values: pd.Series) -> tuple[Array, pd.Series]:
    """Read rows' weights: float64 [n], and why a row has no weight (None where it has one), with the rows' index."""
    weights = numbers_of(np.array(names_of(values), dtype=object), ValueRules())
    good = (weights >= WEIGHTS[0]) & (weights <= WEIGHTS[1])
    faults = pd.Series(None, index=values.index, dtype=object)
    # Without the value: of many different ones, each would be a reason of its own.
    faults[~good] = f"its weight is missing, or not a number above 0 ({WEIGHTS[0]:g} to {WEIGHTS[1]:g})"
    return weights, faults


def _fingerprints(labels: pd.Series) -> Array:
    """Hash labels that are numbers or texts, uint64 [n]; the same in every process."""
    values = labels.to_numpy() + 0.0 if labels.dtype.kind == "f" else labels.to_numpy(object)  # -0.0 is 0.0
    return np.asarray(pd.util.hash_array(values, categorize=False))


def _own_where_missing(groups: pd.Series) -> pd.Series:
    """Give the groups as text; a row without one is a group of its own."""
    names = names_of(groups)
    alone = (
        f"row {row} without a group" if name is None else name for row, name in zip(groups.index, names, strict=True)
    )
    return pd.Series(list(alone), index=groups.index, dtype=object)


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
    raise DataError(place, row, why, fix="fix the rows, or raise preprocess.max_dropped")

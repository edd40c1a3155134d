"""Decides which row goes where: seeded stratified draws, and what becomes of train rows that others equal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from flywheel.preprocessor.pipeline.draw import fold_rows, grouped, stratified
from flywheel.preprocessor.pipeline.duplicates import Matches, across, contradictory, within
from flywheel.preprocessor.pipeline.survey import UNUSABLE, Survey
from flywheel.project.config import PreprocessConfig
from flywheel.project.errors import ConfigError, DataError
from flywheel.project.types import SPLITS, SplitName

Array = np.ndarray[Any, Any]

TRAIN, VALIDATION, TEST = range(3)
PARTS: dict[SplitName, int] = dict(zip(SPLITS, (TRAIN, VALIDATION, TEST), strict=True))


@dataclass
class SplitPlan:
    """Where each row of each surveyed split goes.

    Attributes:
        parts: Parts of the rows, by the surveyed split's name: int8 [N], a value of `PARTS`, or `UNUSABLE` for unused
            rows.
        duplicates: Duplicates by kind; the keys are those of `profile.json`.
        num_contradictory: Usable rows with the inputs of another row and another label, before any row is dropped.
    """

    parts: dict[str, Array] = field(default_factory=dict)
    duplicates: dict[str, Matches] = field(default_factory=dict)
    num_contradictory: int = 0


def make_plan(surveys: dict[str, Survey], num_own: int, names: list[str], settings: PreprocessConfig) -> SplitPlan:
    """Decide for every row.

    An official test split is taken whole; otherwise a test part is drawn from all usable rows of train. Only then are
    duplicates looked for, so that no test row is ever dropped for being equal to another: a test set without its
    duplicates is not distributed as the data are. Rows from `num_own` on are feedback: they go to train alone.

    Args:
        surveys: The survey of `train`, and those of official `validation` and `test` splits.
        num_own: Rows of train that are the data set's own.
        names: Names of the label codes, for messages; empty where the target is not a class.
        settings: Seed, shares, and what becomes of duplicates.

    Raises:
        DataError: A class is too small to be split, or a split is left without rows.
    """
    plan = SplitPlan(num_contradictory=_num_contradictory(surveys.values()))
    train = surveys["train"]
    parts = plan.parts["train"] = np.where(train.usable, TRAIN, UNUSABLE).astype(np.int8)
    generator = np.random.Generator(np.random.PCG64(settings.seed))
    test, validation = surveys.get("test"), surveys.get("validation")

    if test is None:
        rows = np.flatnonzero(parts[:num_own] == TRAIN)
        parts[_draw(rows, train, settings.test, generator, names, "test")] = TEST
        test = train
    else:
        plan.parts["test"] = np.where(test.usable, TEST, UNUSABLE).astype(np.int8)
    if validation is not None:
        plan.parts["validation"] = np.where(validation.usable, VALIDATION, UNUSABLE).astype(np.int8)
        _compare(plan, validation, VALIDATION, test, TEST, settings)
    _compare(plan, train, TRAIN, test, TEST, settings)
    if settings.fold is not None:
        if validation is not None:
            what = "the data set has its own validation part, so there are no folds"
            raise ConfigError(what, where="preprocess.fold", fix="set fold to null")
        rows = np.flatnonzero(parts[:num_own] == TRAIN)
        parts[fold_rows(rows, train, settings.fold, settings.num_folds, generator)] = VALIDATION
        validation = train
    if validation is None:
        rows = np.flatnonzero(parts[:num_own] == TRAIN)
        parts[_draw(rows, train, settings.validation, generator, names, "validation")] = VALIDATION
        validation = train
    _compare(plan, train, TRAIN, validation, VALIDATION, settings)
    for survey, part in ((test, TEST), (validation, VALIDATION), (train, TRAIN)):
        _count_repeated(plan, survey, part, settings)
    _check(plan, surveys, names, settings)
    return plan


def _draw(
    rows: Array, survey: Survey, share: float, generator: np.random.Generator, names: list[str], part: str
) -> Array:
    """Draw a part of `rows`, refusing classes that would be left without rows."""
    if share == 0 or not len(rows):
        return rows[:0]
    codes = survey.codes[rows]
    counts = np.bincount(codes)
    if survey.units is not None:
        return rows[grouped(codes, survey.units[rows], share, generator)]
    if names and (counts == 1).any():
        code = int((counts == 1).argmax())
        row = int(rows[codes == code][0])
        number = int((survey.codes == code).sum())
        why = f"class '{names[code]}' has {number} row{'s' * (number > 1)}, too few to give some to {part}"
        raise DataError(survey.split.file, row, why, fix="add rows of this class, or remove it")
    return rows[stratified(codes, share, generator)]


def _count_repeated(plan: SplitPlan, survey: Survey, part: int, settings: PreprocessConfig) -> None:
    """Count the rows of a part that equal an earlier one of it; in train their copies are dropped if that is wanted.

    A copy has the same label. A row with the same inputs and another label is an observation of its own: which of the
    two is right, or whether both are, is not for the order of the file to say.
    """
    parts = plan.parts[survey.name]
    matches = within(np.flatnonzero(parts == part), survey.digests, survey.labels)
    if part == TRAIN and settings.drop_duplicates:
        copies = matches.rows[matches.same_label]
        parts[copies] = UNUSABLE
        matches = replace(matches, num_dropped=len(copies))
    plan.duplicates[f"within_{SPLITS[part]}"] = matches


def _compare(
    plan: SplitPlan, survey: Survey, part: int, other: Survey, other_part: int, settings: PreprocessConfig
) -> None:
    """Count the rows of one part that equal a row of another, and drop them if that is wanted; the other keeps its own.

    They are dropped whatever their label: without those alone that agree with the test set, train would be left with
    those that contradict it.
    """
    rows = np.flatnonzero(plan.parts[survey.name] == part)
    others = np.flatnonzero(plan.parts[other.name] == other_part)
    kind = f"{SPLITS[part]}_in_{SPLITS[other_part]}"
    matches = across(rows, survey.digests, survey.labels, others, other.digests, other.labels)
    plan.duplicates[kind] = _dropped(plan, survey, matches, settings)
    if survey.near is not None and other.near is not None:
        rows = np.setdiff1d(rows, matches.rows)
        near, other_near = (np.repeat(one[:, None], 2, axis=1) for one in (survey.near, other.near))
        matches = across(rows, near, survey.labels, others, other_near, other.labels)
        plan.duplicates[f"near_{kind}"] = _dropped(plan, survey, matches, settings)


def _dropped(plan: SplitPlan, survey: Survey, matches: Matches, settings: PreprocessConfig) -> Matches:
    if settings.overlap != "drop":
        return matches
    plan.parts[survey.name][matches.rows] = UNUSABLE
    return replace(matches, num_dropped=len(matches.rows))


def _num_contradictory(surveys: Iterable[Survey]) -> int:
    """Count the usable rows, of all splits, with the inputs of another row and another label."""
    chosen = [(survey.digests[survey.usable], survey.labels[survey.usable]) for survey in surveys]
    digests, labels = (np.concatenate(parts) for parts in zip(*chosen, strict=True))
    return int(contradictory(digests, labels).sum())


def _check(plan: SplitPlan, surveys: dict[str, Survey], names: list[str], settings: PreprocessConfig) -> None:
    """Refuse splits without rows, and classes that train has never seen."""
    held = {name: np.zeros(max(len(names), 1), bool) for name in SPLITS}
    for source, parts in plan.parts.items():
        for name, part in PARTS.items():
            held[name][np.unique(surveys[source].codes[parts == part])] = True
    file = surveys["train"].split.file
    for name in SPLITS:
        if not held[name].any() and not (name == "validation" and settings.validation == 0):
            raise DataError(file, None, f"no rows are left for {name}", fix="add rows, or fix preprocess.* shares")
        unseen = np.flatnonzero(held[name] & ~held["train"])
        if len(unseen):
            source = name if name in plan.parts else "train"
            row = int(np.flatnonzero((surveys[source].codes == unseen[0]) & (plan.parts[source] == PARTS[name]))[0])
            why = f"class '{names[unseen[0]]}' is in {name} but not in train"
            raise DataError(surveys[source].split.file, row, why, fix="add rows of this class to train")

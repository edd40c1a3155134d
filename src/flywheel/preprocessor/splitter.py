"""Decides which row goes where: seeded stratified draws, and no row of train that is in validation or test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flywheel.config import PreprocessConfig
from flywheel.errors import ConfigError, DataError
from flywheel.preprocessor.draw import fold_rows, grouped, stratified
from flywheel.preprocessor.duplicates import Matches, across, within
from flywheel.preprocessor.survey import UNUSABLE, Survey
from flywheel.types import SPLITS, SplitName

Array = np.ndarray[Any, Any]

TRAIN, VALIDATION, TEST = range(3)
PARTS: dict[SplitName, int] = dict(zip(SPLITS, (TRAIN, VALIDATION, TEST), strict=True))


@dataclass
class Plan:
    """Where each row of each surveyed split goes.

    Attributes:
        parts: By the surveyed split's name: int8 [N], a value of `PARTS`, or `UNUSABLE` for rows that go nowhere.
        duplicates: What was found equal, by kind; the keys are those of `profile.json`.
    """

    parts: dict[str, Array] = field(default_factory=dict)
    duplicates: dict[str, Matches] = field(default_factory=dict)


def make_plan(surveys: dict[str, Survey], num_own: int, names: list[str], settings: PreprocessConfig) -> Plan:
    """Decide for every row.

    An official test split is taken whole; otherwise a test part is drawn from train, after duplicates are gone.
    Rows from `num_own` on are feedback: they go to train and nowhere else.

    Args:
        surveys: Of `train`, and of official `validation` and `test` splits.
        num_own: Rows of train that are the data set's own.
        names: Names of the label codes, for messages.
        settings: Seed, shares, and whether duplicates are dropped.

    Raises:
        DataError: A class is too small to be split, or a split is left without rows.
    """
    plan = Plan()
    train = surveys["train"]
    parts = plan.parts["train"] = np.where(train.usable, TRAIN, UNUSABLE).astype(np.int8)
    generator = np.random.Generator(np.random.PCG64(settings.seed))
    test, validation = surveys.get("test"), surveys.get("validation")

    if test is None:
        _drop_repeated(plan, train, settings)
        rows = np.flatnonzero(parts[:num_own] == TRAIN)
        parts[_draw(rows, train, settings.test, generator, names, "test")] = TEST
        test = train
    else:
        plan.parts["test"] = np.where(test.usable, TEST, UNUSABLE).astype(np.int8)
        rows = np.flatnonzero(test.usable)
        plan.duplicates["within_test"] = within(rows, test.digests, test.codes)
    if validation is not None:
        plan.parts["validation"] = np.where(validation.usable, VALIDATION, UNUSABLE).astype(np.int8)
        _drop_common(plan, validation, VALIDATION, test, TEST)
    _drop_common(plan, train, TRAIN, test, TEST)
    if "within_train" not in plan.duplicates:
        _drop_repeated(plan, train, settings)
    if settings.fold is not None:
        if validation is not None:
            what = "the data set has its own validation part, so there are no folds"
            raise ConfigError(what, where="preprocess.fold", mend="set fold to null")
        rows = np.flatnonzero(parts[:num_own] == TRAIN)
        parts[fold_rows(rows, train, settings.fold, settings.num_folds, generator)] = VALIDATION
        validation = train
    if validation is None:
        rows = np.flatnonzero(parts[:num_own] == TRAIN)
        parts[_draw(rows, train, settings.validation, generator, names, "validation")] = VALIDATION
        validation = train
    _drop_common(plan, train, TRAIN, validation, VALIDATION)
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
        raise DataError(survey.split.file, row, why, mend="add rows of this class, or remove it")
    return rows[stratified(codes, share, generator)]


def _drop_repeated(plan: Plan, train: Survey, settings: PreprocessConfig) -> None:
    parts = plan.parts["train"]
    matches = within(np.flatnonzero(parts == TRAIN), train.digests, train.codes)
    plan.duplicates["within_train"] = matches
    if settings.drop_duplicates:
        parts[matches.rows] = UNUSABLE


def _drop_common(plan: Plan, survey: Survey, part: int, other: Survey, other_part: int) -> None:
    """Drop the rows of one part that equal a row of another; nothing is ever dropped from the other."""
    parts = plan.parts[survey.name]
    rows = np.flatnonzero(parts == part)
    others = np.flatnonzero(plan.parts[other.name] == other_part)
    matches = across(rows, survey.digests, survey.codes, others, other.digests, other.codes)
    plan.duplicates[f"{SPLITS[part]}_in_{SPLITS[other_part]}"] = matches
    parts[matches.rows] = UNUSABLE
    if survey.near is not None and other.near is not None:
        rows = rows[parts[rows] == part]
        near, other_near = (np.repeat(one[:, None], 2, axis=1) for one in (survey.near, other.near))
        matches = across(rows, near, survey.codes, others, other_near, other.codes)
        plan.duplicates[f"near_{SPLITS[part]}_in_{SPLITS[other_part]}"] = matches
        parts[matches.rows] = UNUSABLE


def _check(plan: Plan, surveys: dict[str, Survey], names: list[str], settings: PreprocessConfig) -> None:
    """Refuse splits without rows, and classes that train has never seen."""
    held = {name: np.zeros(max(len(names), 1), bool) for name in SPLITS}
    for source, parts in plan.parts.items():
        for name, part in PARTS.items():
            held[name][np.unique(surveys[source].codes[parts == part])] = True
    file = surveys["train"].split.file
    for name in SPLITS:
        if not held[name].any() and not (name == "validation" and settings.validation == 0):
            raise DataError(file, None, f"no rows are left for {name}", mend="add rows, or mend preprocess.* shares")
        unseen = np.flatnonzero(held[name] & ~held["train"])
        if len(unseen):
            source = name if name in plan.parts else "train"
            row = int(np.flatnonzero((surveys[source].codes == unseen[0]) & (plan.parts[source] == PARTS[name]))[0])
            why = f"class '{names[unseen[0]]}' is in {name} but not in train"
            raise DataError(surveys[source].split.file, row, why, mend="add rows of this class to train")

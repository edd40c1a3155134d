"""Draws of rows: a share of every class, whole groups of rows, folds for cross-validation."""

from __future__ import annotations

from typing import Any

import numpy as np

from flywheel.preprocessor.pipeline.survey import Survey
from flywheel.project.errors import ConfigError, DataError

Array = np.ndarray[Any, Any]


def stratified(codes: Array, share: float, generator: np.random.Generator) -> Array:
    """Draw `share` of the rows, and as nearly as can be the same share of every class.

    The number of rows in all is `round(share * rows)`; what rounding leaves over goes to the classes that lost most
    by it. A class with two rows or more gives at least one and keeps at least one.

    Returns:
        Positions, ascending.
    """
    classes, sizes = np.unique(codes, return_counts=True)
    exact = sizes * share
    wanted = np.floor(exact).astype(np.int64)
    left = round(share * len(codes)) - int(wanted.sum())
    wanted[np.argsort(wanted - exact, kind="stable")[:left]] += 1
    wanted = np.clip(wanted, 1, np.maximum(sizes - 1, 1))
    drawn = [
        generator.permutation(np.flatnonzero(codes == code))[:number]
        for code, number in zip(classes, wanted, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def grouped(codes: Array, units: Array, share: float, generator: np.random.Generator) -> Array:
    """Draw `share` of the rows as `stratified` does, but whole units of them (groups, near-duplicates).

    A unit counts for the class that most of its rows have. Of every class, as many units are drawn as come nearest to
    the share of its rows; a class with two units or more gives at least one and keeps at least one.

    Args:
        codes: The class of each row.
        units: Group of each row.
        share: Share of the rows to draw, in [0, 1).
        generator: Draws the order of the units.

    Returns:
        Positions, ascending.
    """
    _, unit_of, sizes, class_of = _units(codes, units)
    drawn = np.zeros(len(sizes), bool)
    for code in np.unique(class_of):
        order = generator.permutation(np.flatnonzero(class_of == code))
        if len(order) == 1:  # a class's only unit stays in train
            continue
        filled = np.cumsum(sizes[order])
        number = int(np.abs(np.concatenate([[0], filled]) - share * filled[-1]).argmin())
        drawn[order[: int(np.clip(number, 1, len(order) - 1))]] = True
    return np.flatnonzero(drawn[unit_of])


def fold_rows(rows: Array, train: Survey, fold: int, num_folds: int, generator: np.random.Generator) -> Array:
    """Give the rows of one fold: every row is in exactly one, and classes are spread evenly over them.

    Args:
        rows: Row numbers that folds are made of.
        train: Knows their classes and units.
        fold: Number of the fold, from 0.
        num_folds: Number of folds; 0: one for each of the reader's groups, in the order of their names.
        generator: Deals the rows; the folds of one seed fit together.

    Raises:
        ConfigError: There is no such fold.
        DataError: One fold a group is wanted, and the data have no groups.
    """
    codes, units = train.codes[rows], train.units
    if num_folds == 0:
        if train.groups is None:
            fix = "give the reader a group, or set preprocess.num_folds"
            raise DataError(train.split.file, None, "has no groups to make folds of", fix=fix)
        held = [name for name in train.group_names if (train.groups[rows] == train.group_names.index(name)).any()]
        dealt = np.searchsorted(sorted(held), [train.group_names[code] for code in train.groups[rows]])
        num_folds = len(held)
    elif units is None:
        order = generator.permutation(len(rows))
        order = order[np.argsort(codes[order], kind="stable")]
        dealt = np.empty(len(rows), np.int64)
        dealt[order] = np.arange(len(rows)) % num_folds
    else:
        dealt = _deal_units(codes, units[rows], num_folds, generator)
    if fold >= num_folds:
        raise ConfigError(f"there is no fold {fold}", where="fold", fix=f"folds are 0 to {num_folds - 1}")
    return np.asarray(rows[dealt == fold])


def _deal_units(codes: Array, units: Array, num_folds: int, generator: np.random.Generator) -> Array:
    """Give each row its fold: units go one by one, the large ones first, to the fold with the fewest rows."""
    _, unit_of, sizes, class_of = _units(codes, units)
    order = generator.permutation(len(sizes))
    order = order[np.lexsort((-sizes[order], class_of[order]))]
    filled, fold_of = np.zeros(num_folds, np.int64), np.empty(len(sizes), np.int64)
    for unit in order.tolist():
        fold_of[unit] = filled.argmin()
        filled[fold_of[unit]] += sizes[unit]
    return np.asarray(fold_of[unit_of])


def _units(codes: Array, units: Array) -> tuple[Array, Array, Array, Array]:
    """Number the units: their names, the unit of each row, and of each unit its size and its most frequent class."""
    names, unit_of, sizes = np.unique(units, return_inverse=True, return_counts=True)
    pairs, counts = np.unique(np.stack([unit_of, codes], axis=1), axis=0, return_counts=True)
    order = np.lexsort((pairs[:, 1], -counts, pairs[:, 0]))  # of each unit first the class with most rows
    first = np.unique(pairs[order, 0], return_index=True)[1]
    return names, unit_of, sizes, pairs[order][first, 1]

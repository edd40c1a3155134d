"""Columns that give the target away: they would not be there when the model is asked.

Three kinds are found: a column that equals the target or renames its values one by one, a number that rises or falls
strictly with a numeric target, and numbers whose weighted sum is the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from flywheel.init_task.columns import NUMBER, Column, given, given_labels
from flywheel.init_task.notation import read_numbers
from flywheel.preprocessor.tabular_values import ValueRules

EXACT = 1e-9
"""Largest share of the target's variance that a weighted sum may leave and still count as exact."""
MAX_ROWS = 5000
MAX_COLUMNS = 200


@dataclass(frozen=True)
class Leak:
    """Columns that together give the target away, and how."""

    columns: tuple[str, ...]
    why: str


def find_leaks(
    frame: pd.DataFrame, target: str, features: Sequence[Column], rules: ValueRules, *, is_number: bool
) -> list[Leak]:
    """Look for columns that give the target away.

    Args:
        frame: The sample's rows, all as text.
        target: The target's column.
        features: What the other columns hold.
        rules: How values are written.
        is_number: Whether the target is a quantity.

    Returns:
        Single columns first; sums are looked for among the columns that are left.
    """
    labelled = frame.loc[given_labels(frame[target]).index]
    found = []
    for column in features:
        why = _single(labelled[target], labelled[column.name], column, rules, is_number=is_number)
        if why:
            found.append(Leak((column.name,), f"{why} '{target}'"))
    told = {name for leak in found for name in leak.columns}
    left = [column.name for column in features if column.kind == NUMBER and column.name not in told]
    summed = _sum(labelled, target, left[:MAX_COLUMNS], rules)
    return [*found, summed] if summed else found


def _single(target: pd.Series, values: pd.Series, column: Column, rules: ValueRules, *, is_number: bool) -> str:
    """Why one column gives the target away; empty: it does not."""
    held = given(values)
    if len(held) < max(3, 0.5 * len(target)):
        return ""
    told = target.loc[held.index].str.strip()
    if (told == held).all():
        return "equals"
    if is_number:
        numbers = (read_numbers(told, rules), read_numbers(held, rules))
        return _with_numbers(*numbers) if column.kind == NUMBER else ""
    codes, names = pd.factorize(told)[0], pd.factorize(held)[0]
    pairs = len(set(zip(codes.tolist(), names.tolist(), strict=True)))
    if pairs == codes.max() + 1 == names.max() + 1:
        return "renames, value by value,"
    return ""


def _with_numbers(target: pd.Series, values: pd.Series) -> str:
    if (target == values).all():
        return "equals"
    order = np.lexsort((values.to_numpy(), target.to_numpy()))
    one, other = target.to_numpy()[order], values.to_numpy()[order]
    rises = np.diff(one) > 0
    steps = np.diff(other)
    if rises.sum() < 5 or (steps[~rises] != 0).any():  # too few to tell from chance, or no function of the target
        return ""
    if (steps[rises] > 0).all():
        return "rises strictly with"
    return "falls strictly with" if (steps[rises] < 0).all() else ""


def _sum(frame: pd.DataFrame, target: str, names: list[str], rules: ValueRules) -> Leak | None:
    """Fit the target by a weighted sum of the numbers, on as many rows as columns twice over and more."""
    if not names:
        return None
    matrix = pd.DataFrame({name: read_numbers(frame[name], rules) for name in names})
    wanted = read_numbers(frame[target], rules)
    rows = (matrix.notna().all(axis=1) & wanted.notna()).to_numpy()
    chosen = np.flatnonzero(rows)[:MAX_ROWS]
    if len(chosen) < 2 * len(names) + 10:
        return None
    x, y = matrix.to_numpy()[chosen], wanted.to_numpy()[chosen]
    spread, middle = x.std(axis=0), x.mean(axis=0)
    if y.std() == 0:
        return None
    x = (x - middle) / np.where(spread > 0, spread, 1.0)
    y = (y - y.mean()) / y.std()
    weights, *_ = np.linalg.lstsq(x, y, rcond=None)
    if np.mean((y - x @ weights) ** 2) > EXACT:
        return None
    used = [name for name, weight in zip(names, weights, strict=True) if abs(weight) > 1e-6]
    own = weights * wanted.to_numpy()[chosen].std() / np.where(spread > 0, spread, 1.0)
    plain = all(abs(own[names.index(name)] - 1) < 1e-6 for name in used)
    how = "add up to" if plain else "in a weighted sum are exactly"
    return Leak(tuple(used), f"{how} '{target}'" if len(used) > 1 else f"is a multiple of '{target}', or nearly")

"""Columns that give the target away: they would not be there when the model is asked.

Found are a column that equals the target or renames its values one by one, a number that rises or falls strictly with a
numeric target, and what the target follows from by a function on rows held out: a column many of whose values mean one
class, a number whose ranges are the classes, two columns together, numbers whose weighted sum, product or quotient is
the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from flywheel.init_task.columns import DATE, NUMBER, ColumnGuess, given, given_labels
from flywheel.init_task.functions import (
    EXACT,
    Array,
    Halves,
    decides_class,
    decides_number,
    line_decides,
    ranges_decide,
)
from flywheel.init_task.notation import read_numbers
from flywheel.preprocessor.values import ValueRules, days_of

MAX_ROWS = 5000
MAX_COLUMNS = 200
MAX_PAIRED = 30
"""Columns of which all pairs are looked at."""
CODES_A_CLASS = 6
"""Values a class up to which whole numbers may be codes, whose order says nothing."""
MIN_REPEATS = 2.0
"""Rows a value from which a column's values come again, so that what they mean can be learnt."""


@dataclass(frozen=True)
class Leak:
    """Columns that together give the target away, and how."""

    columns: tuple[str, ...]
    why: str


def find_leaks(
    frame: pd.DataFrame,
    target: str,
    features: Sequence[ColumnGuess],
    rules: ValueRules,
    *,
    is_number: bool,
    group: str | None = None,
) -> list[Leak]:
    """Look for columns that give the target away.

    Args:
        frame: The sample's rows, all as text.
        target: The target's column.
        features: The other columns.
        rules: Format of the values.
        is_number: Whether the target is a quantity.
        group: A column whose rows are never parted; they are held out together.

    Returns:
        Single columns first; sums and pairs are looked for among the columns that are left.
    """
    labelled = frame.loc[given_labels(frame[target]).index]
    found = []
    for column in features:
        why = _single(labelled[target], labelled[column.name], column, rules, is_number=is_number)
        if why:
            found.append(Leak((column.name,), f"{why} '{target}'"))
    rows = _Rows(labelled, target, rules, group, is_number=is_number)
    found += [Leak((column.name,), why) for column in _left(features, found) if (why := rows.told_by(column))]
    summed = _sum(labelled, target, [c.name for c in _left(features, found) if c.kind == NUMBER][:MAX_COLUMNS], rules)
    found += [summed] if summed else []
    for pair, why in rows.pairs(_left(features, found)):
        told = {name for leak in found for name in leak.columns}
        if not told & set(pair):
            found.append(Leak(pair, why))
    return found


def _left(features: Sequence[ColumnGuess], found: Sequence[Leak]) -> list[ColumnGuess]:
    told = {name for leak in found for name in leak.columns}
    return [column for column in features if column.name not in told]


class _Rows:
    """Rows with a target, as numbers and codes: those that functions are learnt from, and those that judge them."""

    def __init__(
        self, labelled: pd.DataFrame, target: str, rules: ValueRules, group: str | None, *, is_number: bool
    ) -> None:
        self.name, self.rules, self.is_number = target, rules, is_number
        texts = labelled[target].str.strip()
        if is_number:
            texts = texts[np.isfinite(read_numbers(texts, rules).to_numpy())]
        if len(texts) > MAX_ROWS:
            chosen = np.random.default_rng(0).choice(len(texts), MAX_ROWS, replace=False)
            texts = texts.iloc[np.sort(chosen)]
        self.frame = labelled.loc[texts.index]
        self.target = read_numbers(texts, rules).to_numpy() if is_number else pd.factorize(texts)[0]
        groups = None if group is None else pd.factorize(self.frame[group])[0]
        self.halves = Halves.draw(len(texts), groups)

    def told_by(self, column: ColumnGuess) -> str:
        """How one column decides the target; empty: it does not."""
        codes = self._codes(column)
        if self.is_number:
            return f"decides '{self.name}', value by value" if codes is not None and self._decided(codes) else ""
        numbers = self._numbers(column)
        if numbers is not None and ranges_decide(numbers, self.target):
            return f"decides '{self.name}': each class is a range of its values"
        if codes is None or (column.kind == NUMBER and not self._may_be_codes(column)) or not self._decided(codes):
            return ""
        return f"decides '{self.name}': each of its {column.num_distinct:,} values means one"

    def pairs(self, columns: Sequence[ColumnGuess]) -> Iterator[tuple[tuple[str, str], str]]:
        """Pairs that decide the target, and how; the columns decide it on their own no more."""
        numeric = [(column.name, numbers) for column in columns if (numbers := self._numbers(column)) is not None]
        for (one, x), (other, y) in combinations(numeric[:MAX_PAIRED], 2):
            how = self._numbers_decide(x, y)
            if how:
                yield (one, other), f"decide '{self.name}' by their {how}"
        coded = [(column.name, codes) for column in columns if (codes := self._codes(column)) is not None]
        for (one, x), (other, y) in combinations(coded[:MAX_PAIRED], 2):
            both = np.where((x >= 0) & (y >= 0), x * (y.max() + 1) + y, -1)
            codes = np.where(both >= 0, np.unique(both, return_inverse=True)[1], -1)
            if self._decided(codes):
                yield (one, other), f"together decide '{self.name}', value by value"

    def _decided(self, codes: Array) -> bool:
        decides = decides_number if self.is_number else decides_class
        return decides(codes, self.target, self.halves)

    def _numbers_decide(self, x: Array, y: Array) -> str:
        """The operation on two numbers that gives the target; empty: none does."""
        if not self.is_number:
            return "difference" if ranges_decide(x - y, self.target) else ""
        with np.errstate(divide="ignore", invalid="ignore"):
            made = {"product": x * y, "quotient": x / y, "inverse quotient": y / x, "difference": x - y, "sum": x + y}
        decides = (how for how, value in made.items() if line_decides(value, self.target, self.halves))
        return next(decides, "").removeprefix("inverse ")

    def _numbers(self, column: ColumnGuess) -> Array | None:
        """The values of a number or a date as float64 [N]; None: it is neither."""
        if column.kind == NUMBER:
            return read_numbers(self.frame[column.name], self.rules).to_numpy()
        if column.kind == DATE:
            return days_of(self.frame[column.name].str.strip().to_numpy(object), self.rules)
        return None

    def _codes(self, column: ColumnGuess) -> Array | None:
        """A code for each value, -1 where there is none; None: hardly a value comes again, or they are measures."""
        measures = column.kind == NUMBER and not column.is_whole
        if measures or column.num_present < MIN_REPEATS * column.num_distinct:
            return None
        values = self.frame[column.name]
        return pd.factorize(values.str.strip().where(values.index.isin(given(values).index)))[0]

    def _may_be_codes(self, column: ColumnGuess) -> bool:
        """Whether whole numbers are codes rather than a measure by which the classes lie apart."""
        return bool(column.num_distinct <= CODES_A_CLASS * (int(self.target.max()) + 1))


def _single(target: pd.Series, values: pd.Series, column: ColumnGuess, rules: ValueRules, *, is_number: bool) -> str:
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

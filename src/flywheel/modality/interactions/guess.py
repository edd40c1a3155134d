"""Guesses a recommender from a table of who took what, and when."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.init_task.columns import ColumnGuess, given
from flywheel.init_task.guess import ITEM, Guess, Node, Recipe, counted, listed
from flywheel.init_task.roles import Interactions
from flywheel.init_task.sample import TableSample
from flywheel.project.errors import DataError

MIN_USERS = MIN_ITEMS = 10
MIN_INTERACTIONS = 3
MAX_UNKNOWN = 0.5
"""Share of test or validation rows that may ask for an item of no train row: in sparse data they are many."""

IN_TABLES = True
RECIPES = {ITEM: Recipe("interactions", "two_tower", "ranking", optimizer={"lr": 5e-3, "weight_decay": 0.1})}


def guess_interactions(sample: TableSample, columns: Sequence[ColumnGuess], found: Interactions) -> Guess:
    """Guess a task that recommends items to users.

    Args:
        sample: The table's rows, or some of them.
        columns: The guessed columns.
        found: Columns of users, items, times and ratings.

    Raises:
        DataError: There are too few users or items.
    """
    by_name = {column.name: column for column in columns}
    num_users, num_items = by_name[found.user].num_distinct, by_name[found.item].num_distinct
    for number, noun, least in ((num_users, "user", MIN_USERS), (num_items, "item", MIN_ITEMS)):
        if number < least:
            why = f"has {counted(number, noun)}; at least {least} are needed to recommend"
            raise DataError(sample.path, None, why, fix="add interactions, or give --modality tabular")
    users = given(sample.frame[found.user]).value_counts()
    if (able := int((users >= MIN_INTERACTIONS).sum())) < MIN_USERS and sample.is_whole:
        why = (
            f"has {counted(able, 'user')} with {MIN_INTERACTIONS} interactions, for train, validation and test each one"
        )
        raise DataError(sample.path, None, why, fix=f"give at least {MIN_USERS} such users")
    guess = Guess("interactions", ITEM, {}, num_rows=sample.num_rows, num_test=able)
    about = "" if sample.is_whole else "about "
    guess.note("rows", f"{about}{sample.num_rows:,}", sample.said)
    guess.note("modality", "interactions", "a column of users and one of items; --target COLUMN says otherwise")
    guess.note("user", found.user, f"{num_users:,} different; by its name")
    guess.note("item", found.item, f"{num_items:,} different, to be ranked; by its name")
    _say_time(guess, found)
    _say_missing(guess, sample, found)
    others = [name for name in (found.rating, *found.others) if name]
    if others:
        guess.note("not used", listed(others), "every row counts as one interaction")
    read: Node = {"_target_": "flywheel.modality.interactions.data.reader.InteractionsReader", "path": sample.path.name}
    read |= {"user_column": found.user, "item_column": found.item}
    read["time_column"] = found.time
    guess.reader = read | sample.form
    guess.preprocess["max_dropped"] = MAX_UNKNOWN
    why = "test rows whose item is in no train row cannot be answered: dropped, counted"
    guess.note("unknown items", f"up to {MAX_UNKNOWN:.0%}", why)
    return guess


def _say_time(guess: Guess, found: Interactions) -> None:
    if found.time:
        guess.note("time", found.time, "by its name; each user's last interaction is the test")
    else:
        guess.note("time", "none", "rows are taken to be in the order in which they happened")
        guess.warn("No column of times: a user's last row in the file is taken for the latest interaction.")


def _say_missing(guess: Guess, sample: TableSample, found: Interactions) -> None:
    users, items = given(sample.frame[found.user]).index, given(sample.frame[found.item]).index
    bad = len(sample.frame) - len(users.intersection(items))
    if bad:
        guess.warn(f"{counted(bad, 'row')} of those looked at without a user or an item are dropped by preprocess.")

"""Which interactions count, and which are held out of each user's history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from flywheel.modality.interactions.data.table import Array, InteractionTable

TRAIN, VALIDATION, TEST, LEFT_OUT = range(4)


def in_time(table: InteractionTable, seed: int) -> Array:
    """Row numbers by user, then time, then chance: int64 [N].

    Where times are dates, many interactions of a user are at one time. Their order in the file may tell what nobody
    could know (a file that is sorted by item makes the last item of each user a popular one, or always the same), so
    that it is drawn: by a hash of seed, user and item, which is the same however the file is sorted.
    """
    hashes = [pd.util.hash_array(np.append(names, "").astype(object)) for names in (table.users, table.items)]
    with np.errstate(over="ignore"):
        pair = hashes[0][table.user] * np.uint64(31) + hashes[1][table.item] + np.uint64(seed)
    return np.lexsort((np.arange(len(table.user)), pd.util.hash_array(pair), table.time, table.user))


def first_of_pair(table: InteractionTable, kept: Array, order: Array) -> Array:
    """Mark each user's first interaction with each item among the kept rows: bool [N]; `order` as `in_time` has it."""
    order = order[kept[order]]
    pairs = table.user[order].astype(np.int64) * (len(table.items) + 1) + table.item[order]
    marked = np.zeros(len(kept), bool)
    marked[order[np.unique(pairs, return_index=True)[1]]] = True
    return marked


def core(table: InteractionTable, kept: Array, min_user: int, min_item: int) -> Array:
    """Leave out users and items with too few of the kept rows until all have enough: bool [N]."""
    kept = kept.copy()
    while True:
        rows = np.flatnonzero(kept)
        by_user = np.bincount(table.user[rows], minlength=len(table.users))
        by_item = np.bincount(table.item[rows], minlength=len(table.items))
        few = (by_user[table.user[rows]] < min_user) | (by_item[table.item[rows]] < min_item)
        if not few.any():
            return kept
        kept[rows[few]] = False


@dataclass(frozen=True)
class HeldOut:
    """Which part each row goes to.

    Attributes:
        order: The kept rows by user and time: int64 [M].
        place: The place of each row in `order`: int64 [N]; -1 where it is not kept.
        start: The start of each row's user in `order`: int64 [N].
        is_tied: Whether another of the user's kept rows is at the same time: bool [N].
        part: TRAIN, VALIDATION, TEST or LEFT_OUT: int8 [N].
        in_train: Whether an item is in a train row, by item code.
    """

    order: Array
    place: Array
    start: Array
    is_tied: Array
    part: Array
    in_train: Array

    @classmethod
    def of(cls, table: InteractionTable, kept: Array, max_test_users: int | None, seed: int, order: Array) -> HeldOut:
        """Give each chosen user's last interaction to test and the one before to validation.

        A user with one interaction has it in train; with two, one is train and one test. `order` as `in_time` has it.
        """
        order = order[kept[order]]
        users = table.user[order]
        _, first, number = np.unique(users, return_index=True, return_counts=True)
        start, count = np.repeat(first, number), np.repeat(number, number)
        from_end = start + count - 1 - np.arange(len(order))
        chosen = np.ones(len(table.users), bool)
        able = np.unique(users)
        if max_test_users is not None and max_test_users < len(able):
            generator = np.random.Generator(np.random.PCG64(seed))
            by_name = able[np.argsort(table.users[able].astype(str))]  # codes are in the file's order
            chosen[:] = False
            chosen[generator.choice(by_name, max_test_users, replace=False)] = True
        part_in_order = np.full(len(order), TRAIN, np.int8)
        part_in_order[chosen[users] & (from_end == 1) & (count >= 3)] = VALIDATION
        part_in_order[chosen[users] & (from_end == 0) & (count >= 2)] = TEST
        place, starts = np.full((2, len(kept)), -1, np.int64)
        part = np.full(len(kept), LEFT_OUT, np.int8)
        place[order], starts[order], part[order] = np.arange(len(order)), start, part_in_order
        same = (users[1:] == users[:-1]) & (table.time[order[1:]] == table.time[order[:-1]])
        is_tied = np.zeros(len(kept), bool)
        is_tied[order] = np.append(False, same) | np.append(same, False)
        in_train = np.zeros(len(table.items), bool)
        in_train[table.item[order[part_in_order == TRAIN]]] = True
        return cls(order, place, starts, is_tied, part, in_train)

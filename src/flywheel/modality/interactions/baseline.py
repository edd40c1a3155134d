"""Item-kNN beside a recommender: shows a user the items that are most like those taken before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from flywheel.modality.interactions.metrics import discounted_gain, ranks_of
from flywheel.report.baseline import Baseline, BaselineData
from flywheel.report.bootstrap import Array
from flywheel.report.examples import Examples

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CHUNK_ROWS = 2048
MIN_SCORE = 1e-9
"""Added for each interaction of an item: so items that are alike to nothing are ranked by popularity, not at random."""


def item_knn(
    neighbours: Sequence[int] = (20, 50, 200),
    shrinkage: Sequence[float] = (0.0, 10.0),
    recent: Sequence[int | None] = (1, 2, 3, 5, 10, 50, None),
) -> Baseline:
    """Item-based collaborative filtering: Sarwar et al. 2001 (WWW 10), Deshpande & Karypis 2004 (TOIS 22).

    The likeness of two items is the cosine of their columns in train's matrix of users and items, shrunk where few
    users had both. An item's score is the sum of its likeness to the items of the history. All settings are tried, and
    validation chooses by NDCG@10.

    Args:
        neighbours: Numbers of an item's most similar items to try.
        shrinkage: Added to the cosine's denominator.
        recent: Numbers of a history's last items to try; None: all of them.
    """
    if not neighbours or not shrinkage or not recent or min(neighbours) < 1 or min(shrinkage) < 0:
        raise ValueError("neighbours >= 1, shrinkage >= 0 and recent must hold one value each at least")
    if any(last is not None and last < 1 for last in recent):
        raise ValueError("recent must hold numbers above 0, or null")
    return ItemKnn([Setting(*values) for values in product(neighbours, shrinkage, recent)])


@dataclass(frozen=True)
class Setting:
    """One way to set the method; see `item_knn`."""

    neighbours: int
    shrinkage: float
    recent: int | None


class ItemKnn(Baseline):
    """See `item_knn`."""

    title = "item-kNN"

    def __init__(self, settings: list[Setting]) -> None:
        self._settings = settings

    def predict(self, data: BaselineData) -> tuple[Array, str]:
        """Learn likeness from train, choose the setting on validation, and score test: [N, num_items]."""
        num_items = int(data.meta["num_items"])
        matrix = interaction_matrix(data.train, int(data.meta["num_users"]), num_items, data.max_rows)
        chosen = self._settings[0] if data.validation is None else self._best(matrix, data.validation)
        scores = score(matrix, alike(matrix, chosen), histories(data.test), chosen.recent)
        return scores, self._note(data, int(matrix.sum()), chosen)

    def _best(self, matrix: csr_array, validation: Examples) -> Setting:
        """The setting with the highest NDCG@10; of equal ones the first."""
        had, target = histories(validation), validation.target
        found: list[tuple[float, Setting]] = []
        kept: tuple[tuple[int, float], csr_array] | None = None
        for setting in self._settings:
            key = setting.neighbours, setting.shrinkage
            if kept is None or kept[0] != key:  # settings that differ in `recent` alone follow each other
                kept = key, alike(matrix, setting)
            ranks = ranks_of(target, score(matrix, kept[1], had, setting.recent))
            found.append((float(discounted_gain(ranks).mean()), setting))
        return max(found, key=lambda one: one[0])[1]

    def _note(self, data: BaselineData, num_rows: int, chosen: Setting) -> str:
        history = "all items" if chosen.recent is None else f"the last {chosen.recent} items"
        how = f", chosen by NDCG@10 on validation among {len(self._settings)} settings" if data.validation else ""
        return (
            f"Item-kNN used {num_rows:,} of the {data.train.num_rows:,} train interactions,"
            f" {chosen.neighbours} neighbours of {history} of a history and a shrinkage of {chosen.shrinkage:g}{how};"
            " ties are broken by popularity."
        )


def histories(examples: Examples) -> Array:
    """All histories of a split, integers [N, H]."""
    return np.concatenate([batch["history"].numpy() for batch in examples.batches(CHUNK_ROWS)])


def interaction_matrix(train: Examples, num_users: int, num_items: int, max_rows: int) -> csr_array:
    """Who had what in train: 0 or 1, [num_users, num_items]; users that are not known are left out.

    Args:
        train: Train rows, of which the last `max_rows` are used; 0: all.
        num_users: Number of users, the matrix's rows.
        num_items: Number of items, the matrix's columns.
        max_rows: Maximum number of interactions.
    """
    from scipy.sparse import csr_array

    users = np.concatenate([batch["user"].numpy() for batch in train.batches(CHUNK_ROWS)])
    rows = np.flatnonzero(users > 0)[-max_rows:]
    ones = np.ones(len(rows))
    matrix = csr_array((ones, (users[rows] - 1, train.target[rows])), shape=(num_users, num_items))
    matrix.data[:] = 1.0  # an interaction that occurs twice counts once
    return matrix


def alike(matrix: csr_array, setting: Setting) -> csr_array:
    """How alike items are, [num_items, num_items]: each row holds its item's nearest, itself not among them."""
    from scipy.sparse import csr_array

    together = csr_array(matrix.T @ matrix)
    count = together.diagonal()
    together.setdiag(0)
    together.eliminate_zeros()
    together.sort_indices()
    rows = np.repeat(np.arange(together.shape[0]), np.diff(together.indptr))
    values = together.data / (np.sqrt(count[rows] * count[together.indices]) + setting.shrinkage)
    # Row by row, the most alike first; of equal ones the item that is more frequent, which has the lower column.
    order = np.lexsort((together.indices, -values, rows))
    place = np.arange(len(rows)) - together.indptr[rows]
    kept = order[place < setting.neighbours]
    return csr_array((values[kept], (rows[kept], together.indices[kept])), shape=together.shape)


def score(matrix: csr_array, likeness: csr_array, had: Array, recent: int | None) -> Array:
    """Sum the likeness to the last items of each history: float64 [N, num_items], 0 for items of the history."""
    from scipy.sparse import csr_array

    num_items = likeness.shape[0]
    row, place = np.nonzero(had)
    left = (had != 0).sum(axis=1)[row] - place  # 1 for the last item
    used = slice(None) if recent is None else np.flatnonzero(left <= recent)
    columns = had[row, place].astype(np.int64) - 1
    ones = np.ones(len(row))
    history = csr_array((ones[used], (row[used], columns[used])), shape=(len(had), num_items))
    scores: Array = (history @ likeness).toarray() + MIN_SCORE * (1 + np.asarray(matrix.sum(axis=0)))
    scores[row, columns] = 0.0
    return scores


BASELINES = (item_knn,)
"""What a task may name in `evaluate.baselines`."""

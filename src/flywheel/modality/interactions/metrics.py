"""Metrics of rankings of a whole catalogue with one wanted item a row, on many resamples at once.

A score of 0 rules an item out; the items of a user's history have it. The rank of the wanted item counts from 0: the
items that score higher, and half of those that score the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from flywheel.learner import metric
from flywheel.modality.interactions.data.target import best_items
from flywheel.report.base import Measured
from flywheel.report.bootstrap import Array, Bootstrap, Metric

K = 10
"""Length of the list that a user is shown."""
MAX_K = 50
"""Length up to which the hit rate is drawn."""
BLOCK_ROWS = 256


def ranks_of(target: Array, scores: Array) -> Array:
    """The rank of each row's wanted item, from 0: float64 [N], halves where there are ties.

    Args:
        target: int [N], columns of the wanted items.
        scores: [N, num_items].
    """
    ranks = np.empty(len(target))
    for start in range(0, len(target), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        ranks[rows] = metric.ranks_of(torch.from_numpy(scores[rows]), torch.from_numpy(target[rows]).long()).numpy()
    return ranks


def discounted_gain(ranks: Array, k: int = K) -> Array:
    """What each rank adds to NDCG@k, by the metric that training logs: float64 [N]."""
    gain: Array = metric.NDCG(k).gain(torch.from_numpy(ranks)).numpy()
    return gain


def reciprocals(ranks: Array) -> Array:
    """What each rank adds to MRR, by the metric that training logs: float64 [N]."""
    gain: Array = metric.MRR().gain(torch.from_numpy(ranks)).numpy()
    return gain


def lists_of(scores: Array, k: int = K) -> list[Array]:
    """The columns of each row's k best items, in order; fewer where the others are ruled out."""
    return [best_items(row, k) for row in scores]


def measure_ranking(target: Array, scores: Array, bootstrap: Bootstrap, item_counts: Sequence[int]) -> Measured:
    """Measure a ranking against the wanted items, with intervals.

    Args:
        target: int [N].
        scores: [N, num_items].
        bootstrap: The bootstrap of N rows.
        item_counts: Number of occurrences of each item in train.
    """
    ranks = ranks_of(target, scores)
    gains = {"ndcg_10": discounted_gain(ranks), "hit_rate_10": ranks < K, "mrr": reciprocals(ranks)}
    lists, counts = lists_of(scores), np.asarray(item_counts, dtype=np.float64)
    shown = np.array([counts[items].mean() if len(items) else 0.0 for items in lists])
    columns = np.stack([*gains.values(), shown, counts[target]], axis=1).astype(np.float64)
    hits = ranks[:, None] < np.arange(1, MAX_K + 1)
    ones = np.ones((len(target), 1))
    blocks = [_summed(columns, hits, weights) for weights in bootstrap.blocks()]
    value, hit_value = _summed(columns, hits, ones)
    none = np.empty((columns.shape[1], 0)), np.empty((MAX_K, 0))
    draws, hit_draws = (np.concatenate(parts, axis=1) for parts in zip(*blocks, strict=True)) if blocks else none
    shares = {"hit_rate_10": bootstrap.share(holds=ranks < K)}
    metrics = {
        name: Metric.of(value[place, 0], draws[place], share=shares.get(name)) for place, name in enumerate(gains)
    }
    metrics["coverage_10"] = Metric.of(coverage(lists, len(counts)), np.empty(0))
    metrics["popularity_bias"] = Metric.of(value[-2, 0] / value[-1, 0], draws[-2] / draws[-1])
    parts = [Metric.of(hit_value[k, 0], hit_draws[k], share=bootstrap.share(holds=hits[:, k])) for k in range(MAX_K)]
    return Measured(metrics, {"hit_rate": parts})


def coverage(lists: Sequence[Array], num_items: int) -> float:
    """Share of the catalogue that is in anybody's list."""
    held = np.unique(np.concatenate([*lists, np.empty(0, np.int64)]))
    return len(held) / num_items


def _summed(columns: Array, hits: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted means of the columns [C, b] and of the hits [MAX_K, b]."""
    total = weights.sum(axis=0)
    return columns.T @ weights / total, hits.T.astype(np.float64) @ weights / total

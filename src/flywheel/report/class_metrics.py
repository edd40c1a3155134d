"""Metrics of class probabilities, on many resamples at once.

Everything is a function of row weights [N, b] (one column a resample; a column of ones is the test set itself), so
the value and its bootstrap draws come from the same code.
"""

from __future__ import annotations

import numpy as np

from flywheel.report.base import Measured
from flywheel.report.bootstrap import Array, Bootstrap, Metric

NUM_BINS = 15
"""Of the calibration error, as in Guo et al. 2017, "On calibration of modern neural networks", arXiv:1706.04599."""
AUC_CELLS = 4_000_000_000
"""Rows x resamples x classes after which AUC has no further draws: its interval then rests on fewer resamples."""
PER_CLASS = ("precision", "recall", "f1", "auc")


class Groups:
    """Sums weights over groups of rows.

    Args:
        labels: The group of each row; negative: in none.
        num_groups: Groups are 0 to num_groups - 1.
    """

    def __init__(self, labels: Array, num_groups: int) -> None:
        kept = np.flatnonzero(labels >= 0)
        self._order = kept[np.argsort(labels[kept], kind="stable")]
        self._present, self._starts = np.unique(labels[self._order], return_index=True)
        self._num_groups = num_groups

    def sums(self, weights: Array) -> Array:
        """[N, b] -> [num_groups, b]."""
        found = np.zeros((self._num_groups, weights.shape[1]))
        if len(self._present):
            found[self._present] = np.add.reduceat(weights[self._order], self._starts, axis=0)
        return found


class AreaUnderCurve:
    """The area under the ROC curve of one class against the rest, ties counted half.

    It is the chance that a row of the class scores higher than another row (Mann-Whitney U), so weighted ranks give it.

    Args:
        is_class: Whether each row is of the class.
        scores: The class's score of each row.
    """

    def __init__(self, is_class: Array, scores: Array) -> None:
        self._order = np.argsort(scores, kind="stable")
        in_order = scores[self._order]
        self._of_class = np.flatnonzero(is_class[self._order])
        own = in_order[self._of_class]
        self._below = np.searchsorted(in_order, own, side="left")
        self._upto = np.searchsorted(in_order, own, side="right")

    def area(self, weights: Array) -> Array:
        """[N, b] -> [b]; NaN where a resample lacks the class, or has nothing else."""
        in_order = weights[self._order]
        cumulated = np.zeros((len(in_order) + 1, in_order.shape[1]))
        np.cumsum(in_order, axis=0, out=cumulated[1:])
        own = in_order[self._of_class]
        twice_rank = cumulated[self._below] + cumulated[self._upto]
        of_class, total = own.sum(axis=0), cumulated[-1]
        wins = (np.einsum("nb,nb->b", own, twice_rank) - of_class**2) / 2
        return _ratio(wins, of_class * (total - of_class), empty=np.nan)


class ClassMetrics:
    """All metrics of one set of predictions, ready to be computed under any weights.

    Args:
        target: int [N], class numbers.
        scores: [N, num_classes], probabilities.
    """

    def __init__(self, target: Array, scores: Array) -> None:
        self.num_rows, self.num_classes = scores.shape
        predicted = scores.argmax(axis=1)
        self.predicted, self.correct = predicted, predicted == target
        correct = self.correct
        smallest = np.finfo(scores.dtype).eps  # as scikit-learn clips
        given = np.clip(scores[np.arange(self.num_rows), target], smallest, 1 - smallest).astype(np.float64)
        self._surprise = -np.log(given)
        confidence = scores.max(axis=1).astype(np.float64)
        self._gap = correct - confidence
        self._in_bin = Groups(confidence_bin(confidence), NUM_BINS)
        self._by_target = Groups(target, self.num_classes)
        self._by_predicted = Groups(predicted, self.num_classes)
        self._by_correct = Groups(np.where(correct, target, -1), self.num_classes)
        # With two classes the areas are the same, so one is enough.
        ranked = range(self.num_classes) if self.num_classes != 2 else range(1, 2)
        self._areas = [AreaUnderCurve(target == k, scores[:, k]) for k in ranked]

    def compute(self, weights: Array, *, with_auc: bool = True) -> dict[str, Array]:
        """[N, b] -> each main metric [b], and each metric of `PER_CLASS` [num_classes, b]."""
        total = weights.sum(axis=0)
        support, chosen = self._by_target.sums(weights), self._by_predicted.sums(weights)
        hits = self._by_correct.sums(weights)
        per_class = {
            "precision": _ratio(hits, chosen),
            "recall": _ratio(hits, support),
            "f1": _ratio(2 * hits, chosen + support),
            "auc": self._auc(weights) if with_auc else np.full_like(hits, np.nan),
        }
        seen = (support + chosen) > 0  # scikit-learn's macro average: classes that occur in target or predictions
        gap = np.abs(self._in_bin.sums(weights * self._gap[:, None])).sum(axis=0)
        main = {
            "accuracy": hits.sum(axis=0) / total,
            "precision_macro": _mean(per_class["precision"], seen),
            "recall_macro": _mean(per_class["recall"], seen),
            "f1_macro": _mean(per_class["f1"], seen),
            "auc": _mean(per_class["auc"], np.isfinite(per_class["auc"])),
            "log_loss": self._surprise @ weights / total,
            "ece": gap / total,
        }
        return {**main, **{f"{name}/class": values for name, values in per_class.items()}}

    def _auc(self, weights: Array) -> Array:
        areas = np.stack([area.area(weights) for area in self._areas])
        return np.repeat(areas, 2, axis=0) if self.num_classes == 2 else areas


def measure_classes(target: Array, scores: Array, bootstrap: Bootstrap) -> Measured:
    """Measure class probabilities against the target, with intervals.

    Args:
        target: int [N], class numbers.
        scores: [N, num_classes], probabilities.
        bootstrap: The bootstrap of N rows.
    """
    metrics = ClassMetrics(target, scores)
    value = metrics.compute(np.ones((metrics.num_rows, 1)))
    blocks: list[dict[str, Array]] = []
    cells = 0
    for weights in bootstrap.blocks():
        blocks.append(metrics.compute(weights, with_auc=cells < AUC_CELLS))
        cells += weights.size * metrics.num_classes
    draws = {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in value} if blocks else {}
    none = np.empty(0)
    why = {"auc": "the test set holds one class only"}
    shares = {"accuracy": bootstrap.share(holds=metrics.correct)}
    main = {
        name: Metric.of(found[0], draws.get(name, none), why.get(name, ""), shares.get(name))
        for name, found in value.items()
        if "/" not in name
    }
    of_rows = {"precision": metrics.predicted, "recall": target}
    parts = {
        name: _parts(value[f"{name}/class"], draws.get(f"{name}/class"), bootstrap, of_rows.get(name))
        for name in PER_CLASS
    }
    return Measured(main, parts)


def confidence_bin(confidence: Array) -> Array:
    """The bin, 0 to NUM_BINS - 1, of each confidence; a bin holds its upper edge, as in Guo et al."""
    found: Array = np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    return found


def _parts(values: Array, draws: Array | None, bootstrap: Bootstrap, classes: Array | None) -> list[Metric]:
    """One metric a class; where it is a share, of the rows that have this one of `classes` (int [N])."""
    none = np.empty(0)
    return [
        Metric.of(
            value[0], none if draws is None else draws[k], "no test row is, or all are, of this class",
            None if classes is None or not (classes == k).any() else bootstrap.share(classes == k),
        )
        for k, value in enumerate(values)
    ]  # fmt: skip


def _ratio(above: Array, below: Array, empty: float = 0.0) -> Array:
    """Divide; where there is nothing to divide by, `empty`."""
    return np.divide(above, below, out=np.full_like(above, empty, dtype=np.float64), where=below > 0)


def _mean(values: Array, counted: Array) -> Array:
    """Mean over classes [num_classes, b] of those counted; NaN where none is."""
    return _ratio(np.where(counted, values, 0.0).sum(axis=0), counted.sum(axis=0).astype(np.float64), empty=np.nan)

"""What is taken for what: the confusion matrix, as a picture and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flywheel.report import style
from flywheel.report.base import Picture
from flywheel.report.bootstrap import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_WITH_COUNTS = 16
MAX_DRAWN = 40


@dataclass(frozen=True)
class Confusion:
    """Rows of class `target` that were taken for class `predicted`."""

    target: int
    predicted: int
    count: int
    out_of: int


def confusion_matrix(target: Array, predicted: Array, num_classes: int) -> Array:
    """Count rows, int64 [num_classes, num_classes]: true class down, predicted class across."""
    cells = np.bincount(target * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def confusions(matrix: Array) -> list[Confusion]:
    """For each class that is ever mistaken, what it is most often taken for; the most frequent confusion first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    totals = matrix.sum(axis=1).tolist()
    found = [Confusion(k, int(row.argmax()), int(row.max()), totals[k]) for k, row in enumerate(wrong) if row.any()]
    return sorted(found, key=lambda one: (-one.count, one.target))


def in_words(found: list[Confusion], classes: list[str], most: int = 6) -> tuple[str, ...]:
    """Say the most frequent confusions as sentences."""
    return tuple(
        f"{classes[one.target]} is most often taken for {classes[one.predicted]}: {one.count:,} of {one.out_of:,}"
        f" ({one.count / one.out_of:.1%})."
        for one in found[:most]
    )


def confusion_picture(matrix: Array, classes: list[str]) -> Picture:
    """Draw the matrix: each row shaded by its shares, right answers blue, mistakes orange.

    Of many classes, those with the most mistakes are drawn.
    """
    kept = _kept(matrix)
    part = matrix[np.ix_(kept, kept)]
    share = part / np.maximum(matrix[kept].sum(axis=1, keepdims=True), 1)
    size = len(kept)
    side = min(9.2, max(3.6, 1.6 + 0.58 * size)) if size <= MAX_WITH_COUNTS else 8.6
    figure, (axes,) = style.new_figure(side + 0.9, side)
    names = [style.shorten(classes[k]) for k in kept]
    with style.styled():
        _cells(axes, share)
        if size <= MAX_WITH_COUNTS:
            _counts(axes, part, share)
        axes.set_xticks(range(size), names, rotation=40 if max(map(len, names)) > 3 else 0, rotation_mode="anchor")
        for text in axes.get_xticklabels():
            text.set_horizontalalignment("right" if max(map(len, names)) > 3 else "center")
        axes.set_yticks(range(size), names)
        axes.tick_params(labelcolor=style.INK, labelsize=9 if size <= MAX_WITH_COUNTS else 6.5)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        if size < len(matrix):
            axes.set_title(f"The {size} classes with most mistakes, of {len(matrix)}")
        style.clean_frame(axes)
    words = " ".join(in_words(confusions(matrix), classes)) or "Every test row was answered right."
    return Picture("confusion", "Confusion matrix", figure, f"Confusion matrix. {words}")


def _kept(matrix: Array) -> Array:
    if len(matrix) <= MAX_DRAWN:
        return np.arange(len(matrix))
    wrong = matrix.sum(axis=1) + matrix.sum(axis=0) - 2 * np.diag(matrix)
    return np.sort(np.argsort(-wrong, kind="stable")[:MAX_DRAWN])


def _cells(axes: Axes, share: Array) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    size = len(share)
    corners = np.array([[-0.47, -0.47], [0.47, -0.47], [0.47, 0.47], [-0.47, 0.47]])
    places = [(i, j) for i in range(size) for j in range(size)]
    colours = [to_rgba(*_shade(float(share[i, j]), right=i == j)) for i, j in places]
    squares = [corners + np.array([j, i]) for i, j in places]
    axes.add_collection(PolyCollection(squares, facecolors=colours, edgecolors="none"))
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
    axes.set_aspect("equal")


def _shade(share: float, *, right: bool) -> tuple[str, float]:
    """Colour and opacity of a cell; few mistakes must still be seen, so theirs grows with the root of the share."""
    if right:
        return style.ACCENT, 0.12 + 0.88 * share
    return (style.WRONG, min(1.0, 1.5 * share**0.5)) if share > 0.0004 else (style.LINE, 0.35)


def _counts(axes: Axes, counts: Array, share: Array) -> None:
    size = len(counts)
    for i in range(size):
        for j in range(size):
            if not counts[i, j]:
                continue
            filled = share[i, j] > (0.5 if i == j else 0.25)
            colour = style.ON_ACCENT if filled else style.INK
            text = f"{counts[i, j]:,}"
            if i != j:
                axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=8)
                continue
            axes.text(j, i - 0.12, text, ha="center", va="center", color=colour, fontsize=8.5, fontweight="bold")
            axes.text(j, i + 0.22, f"{share[i, j]:.0%}", ha="center", va="center", color=colour, fontsize=6.5)

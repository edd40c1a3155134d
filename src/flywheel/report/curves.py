"""ROC and precision-recall curves, one class against the rest, and their mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from flywheel.report import style
from flywheel.report.base import Picture
from flywheel.report.bootstrap import Array

if TYPE_CHECKING:
    import pandas as pd

GRID = np.linspace(0.0, 1.0, 201)
MAX_NAMED = 3


def steps(is_class: Array, scores: Array) -> tuple[Array, Array]:
    """Walk the thresholds from high to low.

    Returns:
        Rows of the class, and other rows, at or above each distinct score; both start with 0.
    """
    order = np.argsort(-scores, kind="stable")
    hits, ranked = np.cumsum(is_class[order]), scores[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    found = np.concatenate([[0], hits[last]])
    return found, np.concatenate([[0], last + 1]) - found


def roc_curve(is_class: Array, scores: Array) -> Array:
    """True positive rate at each false positive rate of `GRID`; NaN without rows of both kinds."""
    found, false = steps(is_class, scores)
    if not found[-1] or not false[-1]:
        return np.full(len(GRID), np.nan)
    rate, hit = false / false[-1], found / found[-1]
    # Where the curve goes straight up, interp would pick any of the points: take the highest.
    top = np.append(np.flatnonzero(np.diff(rate)), len(rate) - 1)
    curve: Array = np.interp(GRID, rate[top], hit[top])
    curve[0] = hit[top[0]]
    return curve


def precision_curve(is_class: Array, scores: Array) -> Array:
    """Precision at the highest threshold that reaches each recall of `GRID`; NaN without rows of the class."""
    found, false = steps(is_class, scores)
    if not found[-1]:
        return np.full(len(GRID), np.nan)
    recall, precision = found[1:] / found[-1], found[1:] / (found[1:] + false[1:])
    reached = np.searchsorted(recall, GRID, side="left")
    curve: Array = precision[np.minimum(reached, len(precision) - 1)]
    return curve


def average_precision(is_class: Array, scores: Array) -> float:
    """Precision averaged over the gains in recall; NaN without rows of the class."""
    found, false = steps(is_class, scores)
    if not found[-1]:
        return float("nan")
    precision = found[1:] / (found[1:] + false[1:])
    return float(np.sum(np.diff(found) / found[-1] * precision))


def roc_frame(target: Array, scores: Array, classes: list[str]) -> pd.DataFrame:
    """`roc.csv`: the mean over classes, then one column a class, on a common grid."""
    return _frame("false_positive_rate", "true_positive_rate", roc_curve, target, scores, classes)


def precision_frame(target: Array, scores: Array, classes: list[str]) -> pd.DataFrame:
    """`pr.csv`: the mean over classes, then one column a class, on a common grid."""
    return _frame("recall", "precision", precision_curve, target, scores, classes)


def roc_picture(frame: pd.DataFrame, areas: list[float | None], mean: float | None) -> Picture:
    """Draw the ROC curves; the classes that are hardest to rank are named."""
    title, alt = "ROC", "ROC curves, one class against the rest."
    return _picture("roc", title, frame, areas, mean, "AUC", alt, chance=True)


def precision_picture(frame: pd.DataFrame, areas: list[float | None], mean: float | None) -> Picture:
    """Draw the precision-recall curves; the classes with the lowest average precision are named."""
    title, alt = "Precision and recall", "Precision-recall curves, one class against the rest."
    return _picture("pr", title, frame, areas, mean, "average precision", alt, chance=False)


def _frame(
    x: str, y: str, curve: Callable[[Array, Array], Array], target: Array, scores: Array, classes: list[str]
) -> pd.DataFrame:
    import pandas as pd

    ys = np.stack([curve(target == k, scores[:, k]) for k in range(len(classes))])
    defined = np.isfinite(ys[:, 0])
    mean = ys[defined].mean(axis=0) if defined.any() else np.full(len(GRID), np.nan)
    columns = [GRID, mean, *ys]
    names = [x, y, *(f"{y}/{name}" for name in classes)]
    return pd.DataFrame(np.stack(columns, axis=1), columns=names)


def _picture(
    name: str,
    title: str,
    frame: pd.DataFrame,
    areas: list[float | None],
    mean: float | None,
    what: str,
    alt: str,
    *,
    chance: bool,
) -> Picture:
    figure, (axes,) = style.new_figure(4.8, 4.5)
    x, ys = frame.iloc[:, 0].to_numpy(), frame.iloc[:, 1:].to_numpy().T
    if chance:  # a ROC curve starts at the origin, then goes straight up
        x, ys = np.append(0.0, x), np.pad(ys, ((0, 0), (1, 0)))
    known = [k for k, area in enumerate(areas) if area is not None]
    hardest = sorted(known, key=lambda k: areas[k] or 0.0)[: MAX_NAMED if len(known) > 1 else 0]
    dashes = ["-", "--", ":"]
    with style.styled():
        if chance:
            axes.plot([0, 1], [0, 1], color=style.LINE, linewidth=1, linestyle=(0, (4, 4)))
        for k in known:
            if k not in hardest:
                axes.plot(x, ys[k + 1], color=style.FAINT, linewidth=0.9)
        for place, k in enumerate(hardest):
            # The number comes first: matplotlib leaves out labels that start with an underscore.
            label = f"{areas[k]:.3f}  {style.shorten(frame.columns[k + 2].split('/', 1)[1])}"
            axes.plot(x, ys[k + 1], color=style.WRONG, linewidth=1.2, linestyle=dashes[place], label=label)
        if mean is not None:
            axes.plot(x, ys[0], color=style.ACCENT, linewidth=2.4, label=f"{mean:.3f}  mean of classes")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set(xlabel=_words(frame.columns[0]), ylabel=_words(frame.columns[1]))
        axes.set_aspect("equal")
        axes.set_title(title)
        style.clean_frame(axes, grid="both")
        if known:
            axes.legend(title=what, loc="lower right" if chance else "lower left", alignment="left")
    return Picture(name, title, figure, alt)


def _words(name: str) -> str:
    return name.replace("_", " ")

"""Each class by itself: a table, and bars with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flywheel.report import style
from flywheel.report.base import Measured, Picture, Table
from flywheel.report.bootstrap import Array, Metric
from flywheel.report.class_metrics import PER_CLASS
from flywheel.report.curves import average_precision

if TYPE_CHECKING:
    import pandas as pd

MAX_BARS = 30
_TITLES = {"f1": "F1", "auc": "AUC", "average_precision": "average precision"}


def class_frame(target: Array, scores: Array, classes: list[str], measured: Measured) -> pd.DataFrame:
    """`per_class.csv`: a row for each class, its metrics with intervals."""
    import pandas as pd

    support = np.bincount(target, minlength=len(classes))
    rows = []
    for k, name in enumerate(classes):
        row: dict[str, object] = {"class": name, "num_rows": int(support[k])}
        for metric_name in PER_CLASS:
            metric = measured.parts[metric_name][k]
            row |= {metric_name: metric.value, f"{metric_name}_low": metric.low, f"{metric_name}_high": metric.high}
        row["average_precision"] = average_precision(target == k, scores[:, k])
        rows.append(row)
    return pd.DataFrame(rows)


def class_table(frame: pd.DataFrame) -> Table:
    """The same for people."""
    shown = [*PER_CLASS, "average_precision"]
    header = ["Class", "test rows", *(_TITLES.get(name, name) for name in shown)]
    rows = [
        [str(row["class"]), f"{row['num_rows']:,}", *(_share(row[name], name) for name in shown)]
        for row in frame.to_dict("records")
    ]
    return Table(header, rows)


def f1_picture(classes: list[str], f1: list[Metric], macro: float | None) -> Picture:
    """Bars of F1, the weakest class first; of many classes, the weakest."""
    order = sorted(range(len(classes)), key=lambda k: (f1[k].value or 0.0, k))[:MAX_BARS]
    figure, (axes,) = style.new_figure(7.0, 0.9 + 0.3 * len(order))
    with style.styled():
        for place, k in enumerate(order):
            value = f1[k].value or 0.0
            colour = style.ACCENT if macro is None or value >= macro else style.WRONG
            axes.barh(-place, value, height=0.62, color=colour, alpha=0.85)
            low, high = f1[k].low, f1[k].high
            if low is not None and high is not None:
                axes.plot([low, high], [-place] * 2, color=style.INK, linewidth=1.3)
            style.label_end(axes, 1.01, -place, f"{value:.1%}")
        if macro is not None:
            axes.axvline(macro, color=style.MUTED, linewidth=1, linestyle=(0, (4, 4)))
        axes.set_yticks([-place for place in range(len(order))], [style.shorten(classes[k]) for k in order])
        axes.tick_params(axis="y", labelcolor=style.INK)
        axes.set_xlim(0, 1.08)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25%", "50%", "75%", "100%"])
        most = "" if len(order) == len(classes) else f" · the {len(order)} weakest of {len(classes)} classes"
        axes.set_title(f"F1 of each class, weakest first{most}")
        style.clean_frame(axes)
    words = "; ".join(f"{classes[k]} {f1[k].value or 0.0:.1%}" for k in order)
    return Picture("per_class", "F1 of each class", figure, f"F1 of each class. {words}")


def _share(value: float, name: str) -> str:
    if value is None or not np.isfinite(value):
        return "not defined"
    return f"{value:.3f}" if name in ("auc", "average_precision") else f"{value:.1%}"

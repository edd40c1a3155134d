"""Pictures of predicted numbers: against the true ones, their errors, and where the errors are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flywheel.report import style
from flywheel.report.base import Picture
from flywheel.report.bootstrap import Array

if TYPE_CHECKING:
    import pandas as pd

MAX_POINTS = 2000
NUM_BARS = 40


def plain(value: float) -> str:
    """Write a number of any size with four significant digits."""
    if not np.isfinite(value):
        return "not finite"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3e}".replace("-", "−")
    digits = 0 if abs(value) >= 1000 else max(0, 3 - int(np.floor(np.log10(max(abs(value), 1e-3)))))
    return f"{value:,.{min(digits, 4)}f}".replace("-", "−")


def scatter_picture(target: Array, predicted: Array) -> Picture:
    """Predicted over true values, with the diagonal of a perfect model."""
    chosen = np.unique(np.linspace(0, len(target) - 1, min(len(target), MAX_POINTS)).round().astype(np.int64))
    figure, (axes,) = style.new_figure(5.2, 5.0)
    low, high = float(min(target.min(), predicted.min())), float(max(target.max(), predicted.max()))
    room = 0.04 * (high - low) or max(abs(high), 1.0) * 0.04
    with style.styled():
        axes.plot([low - room, high + room], [low - room, high + room], color=style.FAINT, linewidth=1,
                  linestyle=(0, (4, 4)))  # fmt: skip
        size, alpha = (22, 0.55) if len(chosen) < 500 else (9, 0.35)
        axes.scatter(target[chosen], predicted[chosen], s=size, color=style.ACCENT, alpha=alpha, linewidths=0)
        axes.set(xlim=(low - room, high + room), ylim=(low - room, high + room), xlabel="true", ylabel="predicted")
        axes.set_aspect("equal")
        of = "" if len(chosen) == len(target) else f" · {len(chosen):,} of {len(target):,} rows"
        axes.set_title(f"Predicted and true{of}")
        axes.text(0.03, 0.97, "above the line: too high", color=style.MUTED, fontsize=8, va="top",
                  transform=axes.transAxes)  # fmt: skip
        axes.text(0.97, 0.03, "below the line: too low", color=style.MUTED, fontsize=8, ha="right",
                  transform=axes.transAxes)  # fmt: skip
        style.clean_frame(axes, grid="both")
    share = float((predicted > target).mean())
    words = f"Predicted over true values; {share:.0%} of the rows are predicted too high."
    return Picture("predicted", "Predicted and true", figure, words)


def residual_picture(target: Array, predicted: Array) -> Picture:
    """How often the prediction is off by how much."""
    error = predicted - target
    figure, (axes,) = style.new_figure(5.6, 3.4)
    reach = float(np.abs(error).max()) or 1.0
    counts, edges = np.histogram(error, bins=min(NUM_BARS, max(6, len(error) // 5)), range=(-reach, reach))
    mean = float(error.mean())
    with style.styled():
        middle = (edges[:-1] + edges[1:]) / 2
        colours = [style.WRONG if place > 0 else style.ACCENT for place in middle]
        axes.bar(middle, counts, width=np.diff(edges) * 0.94, color=colours, alpha=0.8)
        axes.axvline(0, color=style.INK, linewidth=1)
        axes.axvline(mean, color=style.MUTED, linewidth=1, linestyle=(0, (4, 4)))
        axes.set(xlabel="predicted − true", ylabel="rows")
        axes.set_title(f"Errors · on average {plain(mean)} (dashed)")
        style.clean_frame(axes, grid="y")
    words = f"Histogram of predicted minus true: on average {plain(mean)}, at most {plain(reach)} either way."
    return Picture("residuals", "Errors", figure, words)


def group_picture(frame: pd.DataFrame) -> Picture:
    """The mean absolute error of each tenth of the rows, by their prediction."""
    figure, (axes,) = style.new_figure(6.4, 0.95 + 0.32 * len(frame))
    names = [f"{plain(row['from'])} to {plain(row['to'])}" for row in frame.to_dict("records")]
    overall = float(np.average(frame["mae"], weights=frame["num_rows"]))
    with style.styled():
        for place, row in enumerate(frame.to_dict("records")):
            colour = style.ACCENT if row["mae"] <= overall else style.WRONG
            axes.barh(-place, row["mae"], height=0.62, color=colour, alpha=0.85)
            end = row["mae"]
            if np.isfinite(row["low"]) and np.isfinite(row["high"]):
                axes.plot([row["low"], row["high"]], [-place] * 2, color=style.INK, linewidth=1.3)
                end = max(end, row["high"])
            style.label_end(axes, end, -place, plain(row["mae"]))
        axes.axvline(overall, color=style.MUTED, linewidth=1, linestyle=(0, (4, 4)))
        axes.set_yticks([-place for place in range(len(frame))], names)
        axes.tick_params(axis="y", labelcolor=style.INK)
        axes.set_xlim(0, float(np.nanmax(frame[["mae", "high"]].to_numpy(dtype=float))) * 1.15 or 1.0)
        axes.set_xticks([])
        axes.set_title("Mean absolute error by what was predicted")
        style.clean_frame(axes)
    words = "; ".join(f"{name}: {plain(error)}" for name, error in zip(names, frame["mae"], strict=True))
    return Picture("error_by_prediction", "Error by prediction", figure, f"Mean absolute error by prediction. {words}")

"""Whether a confidence of 80% is right in 80% of cases: the reliability diagram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flywheel.report import style
from flywheel.report.base import Picture
from flywheel.report.bootstrap import CONFIDENCE, Array, wilson
from flywheel.report.class_metrics import NUM_BINS, confidence_bin

if TYPE_CHECKING:
    import pandas as pd


def reliability_frame(target: Array, scores: Array) -> pd.DataFrame:
    """`reliability.csv`: one row for each confidence bin that holds test rows.

    `low` and `high` are the Wilson 95% interval of the accuracy, which needs no resampling and is sound for few rows.
    """
    import pandas as pd

    confidence = scores.max(axis=1).astype(np.float64)
    correct = scores.argmax(axis=1) == target
    found = confidence_bin(confidence)
    rows = []
    for one in np.unique(found):
        inside = found == one
        count, hits = int(inside.sum()), int(correct[inside].sum())
        low, high = wilson(hits / count, count, CONFIDENCE)
        edges = {"bin_low": one / NUM_BINS, "bin_high": (one + 1) / NUM_BINS}
        share = {"accuracy": hits / count, "low": low, "high": high, "num_rows": count}
        rows.append({**edges, "confidence": confidence[inside].mean(), **share})
    return pd.DataFrame(rows)


def reliability_picture(frame: pd.DataFrame, ece: float | None) -> Picture:
    """Draw accuracy over confidence, with the diagonal of perfect calibration, and how many rows each bin holds."""
    from matplotlib.ticker import MaxNLocator

    figure, (top, bottom) = style.new_figure(
        5.4, 5.4, rows=2, sharex=True, gridspec_kw={"height_ratios": [3.4, 1], "hspace": 0.06}
    )
    x, y = frame["confidence"].to_numpy(), frame["accuracy"].to_numpy()
    with style.styled():
        top.plot([0, 1], [0, 1], color=style.FAINT, linewidth=1, linestyle=(0, (4, 4)))
        for sure, right in zip(x, y, strict=True):
            colour = style.WRONG if right < sure else style.ACCENT
            top.plot([sure, sure], [right, sure], color=colour, linewidth=5, alpha=0.25)
        top.vlines(x, frame["low"].to_numpy(), frame["high"].to_numpy(), color=style.INK, linewidth=1)
        top.plot(x, y, color=style.ACCENT, marker="o", markersize=5, linewidth=1.6)
        top.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03), ylabel="share that was right")
        top.set_title("Reliability" if ece is None else f"Reliability · calibration error {ece:.1%}")
        top.text(0.03, 0.95, "above the line: too modest", color=style.MUTED, fontsize=8, va="top")
        top.text(0.98, 0.05, "below the line: too sure", color=style.MUTED, fontsize=8, ha="right")
        style.clean_frame(top, grid="both")
        left = frame["bin_low"].to_numpy()
        bottom.bar(left + 0.5 / NUM_BINS, frame["num_rows"].to_numpy(), width=0.92 / NUM_BINS, color=style.FAINT)
        bottom.set(xlabel="confidence", ylabel="rows")
        bottom.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        style.clean_frame(bottom, grid="y")
    words = "; ".join(f"confidence {sure:.0%}: right in {right:.0%}" for sure, right in zip(x, y, strict=True))
    return Picture("reliability", "Reliability", figure, f"Reliability diagram. {words}")

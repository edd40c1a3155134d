"""Pictures of a recommender's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flywheel.modality.interactions.metrics import K
from flywheel.report import style
from flywheel.report.base import Evidence, Picture
from flywheel.report.bootstrap import Array

if TYPE_CHECKING:
    import pandas as pd

COLOURS = (style.WRONG, style.MUTED, style.SECOND, style.FAINT)
FIRST_EDGES = (1, 2, 3, 5, 7)
"""Of the places up to K, about evenly on a logarithmic axis; the next bin begins at K + 1."""
NUM_BINS = 14


def hit_rate_picture(frame: pd.DataFrame, evidence: Evidence) -> Picture:
    """Hit rate against the length of the list, of the model and its baselines."""
    figure, (axes,) = style.new_figure(5.6, 4.0)
    with style.styled():
        if frame["low"].notna().all():
            axes.fill_between(frame["k"], frame["low"], frame["high"], color=style.ACCENT, alpha=0.15, linewidth=0)
        axes.plot(frame["k"], frame["model"], color=style.ACCENT, linewidth=2.4, label="this model")
        for place, item in enumerate(evidence.baselines):
            colour, dash = COLOURS[place % len(COLOURS)], ["-", "--", ":", "-."][place % 4]
            axes.plot(frame["k"], frame[item.name], color=colour, linestyle=dash, label=item.title)
        axes.axvline(K, color=style.LINE, linewidth=1, linestyle=(0, (4, 4)))
        axes.set(xlim=(1, int(frame["k"].max())), ylim=(0, None), xlabel="length of the list", ylabel="hit rate")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_title("The wanted item is in the list")
        axes.legend(loc="upper left")
        style.clean_frame(axes, grid="y")
    at = frame[frame["k"] == K].iloc[0]
    words = ", ".join([f"this model {at['model']:.1%}", *(f"{b.title} {at[b.name]:.1%}" for b in evidence.baselines)])
    return Picture("hit_rate", "Hit rate by length of the list", figure, f"Hit rate by length; at {K}: {words}")


def rank_picture(ranks: Array, num_items: int) -> Picture:
    """How the places of the wanted items are spread, on a logarithmic axis."""
    places = ranks + 1
    beyond = np.unique(np.round(np.geomspace(K + 1, max(num_items + 1, K + 2), NUM_BINS)))
    edges = np.concatenate([FIRST_EDGES, beyond])
    shares = np.histogram(places, edges)[0] / len(places)
    figure, (axes,) = style.new_figure(5.6, 4.0)
    with style.styled():
        colours = [style.ACCENT if left <= K else style.FAINT for left in edges[:-1]]
        axes.bar(edges[:-1], shares, width=np.diff(edges) * 0.94, align="edge", color=colours)
        axes.set_xscale("log")
        axes.set_xlim(1, num_items + 1)
        axes.set(xlabel="place of the wanted item", ylabel="share of test users")
        ticks = [tick for tick in (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000) if tick <= num_items]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_title(f"Places of the wanted items (blue: the first {K})")
        style.clean_frame(axes, grid="y")
    words = f"median {np.median(places):,.0f}, {np.mean(places <= K):.1%} within the first {K} of {num_items:,} items"
    return Picture("ranks", "Places of the wanted items", figure, f"Places of the wanted items: {words}")


def activity_picture(frame: pd.DataFrame) -> Picture:
    """NDCG@10 of users with short and long histories, with 95% intervals of the normal kind."""
    figure, (axes,) = style.new_figure(7.0, 1.1 + 0.36 * len(frame))
    largest = float((frame["ndcg_10"] + 1.96 * frame["standard_error"]).max())
    with style.styled():
        for place, row in enumerate(frame.to_dict("records")):
            axes.barh(-place, row["ndcg_10"], height=0.62, color=style.ACCENT, alpha=0.85)
            reach = 1.96 * row["standard_error"]
            axes.plot([max(0.0, row["ndcg_10"] - reach), row["ndcg_10"] + reach], [-place] * 2, color=style.INK,
                      linewidth=1.3)  # fmt: skip
            style.label_end(axes, row["ndcg_10"] + reach, -place, f"{row['ndcg_10']:.3f}")
        names = [f"{row['history']} ({row['num_rows']:,} users)" for row in frame.to_dict("records")]
        axes.set_yticks([-place for place in range(len(frame))], names)
        axes.tick_params(axis="y", labelcolor=style.INK)
        axes.set_xlim(0, max(1e-9, largest) * 1.15)
        axes.set_xticks([])
        axes.set_title(f"NDCG@{K} by items in the history")
        style.clean_frame(axes)
    words = "; ".join(f"{row['history']} items: {row['ndcg_10']:.3f}" for row in frame.to_dict("records"))
    return Picture("activity", f"NDCG@{K} by activity", figure, f"NDCG@{K} by items in the history. {words}")


def popularity_picture(frame: pd.DataFrame) -> Picture:
    """What is shown, wanted and had in train, by tenth of the catalogue."""
    figure, (axes,) = style.new_figure(7.0, 3.8)
    series = (("shown", "shown to test users", style.ACCENT), ("wanted", "taken by test users", style.WRONG),
              ("train", "all of train", style.FAINT))  # fmt: skip
    with style.styled():
        for number, (name, label, colour) in enumerate(series):
            places = frame["tenth"] + (number - 1) * 0.27
            axes.bar(places, frame[name], width=0.25, color=colour, label=label)
        axes.set_xticks(frame["tenth"].tolist())
        axes.set(xlabel="tenth of the catalogue, the most popular first", ylabel="share")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_title("How popular the shown items are")
        axes.legend(loc="upper right")
        style.clean_frame(axes, grid="y")
    top = frame.iloc[0]
    words = f"most popular tenth: shown {top['shown']:.1%}, taken {top['wanted']:.1%}, train {top['train']:.1%}"
    return Picture("popularity", "Popularity of the shown items", figure, f"Shares by tenth of the catalogue; {words}")

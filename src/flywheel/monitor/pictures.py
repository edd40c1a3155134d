"""The monitor's pictures: how far each trait is from the reference, what has moved, and quality over time."""

from __future__ import annotations

import numpy as np

from flywheel.monitor.drift import Drift, Shift
from flywheel.monitor.quality import Quality
from flywheel.report import style
from flywheel.report.base import Picture

MAX_BARS = 20
MAX_BINS = 12


def effects(drift: Drift, min_effect: float, what: str) -> Picture:
    """A bar a trait: the share of rows that would have to change."""
    shown = drift.shifts[:MAX_BARS]
    figure, (axes,) = style.new_figure(6.4, 0.9 + 0.26 * len(shown))
    with style.styled():
        places = np.arange(len(shown))[::-1]
        colours = [style.WRONG if shift.drifted else style.FAINT for shift in shown]
        axes.barh(places, [shift.distance.effect for shift in shown], color=colours, height=0.7)
        for place, shift in zip(places, shown, strict=True):
            style.label_end(axes, shift.distance.effect, float(place), f"{shift.distance.effect:.0%}")
        axes.axvline(min_effect, color=style.MUTED, linewidth=1.0, linestyle="--")
        axes.set_yticks(places, [style.shorten(shift.name, 28) for shift in shown])
        axes.set_xlim(0, max(2 * min_effect, *(1.15 * shift.distance.effect for shift in shown)))
        axes.set_title(f"How far the {what} are from the reference")
        axes.set_xlabel("share of rows that would have to change; dashed: what counts")
        style.clean_frame(axes, grid="x")
    alt = f"{len(drift.drifted)} of {len(drift.shifts)} traits of the {what} have drifted"
    return Picture(f"effects-{what}", f"How far the {what} are", figure, alt)


def distribution(shift: Shift, name: str) -> Picture:
    """The reference's shares and the window's, side by side."""
    order = np.flatnonzero(np.add(shift.expected, shift.found) > 0)
    if len(order) > MAX_BINS:  # of many categories, those that moved most
        order = np.argsort(-np.abs(np.subtract(shift.expected, shift.found)), kind="stable")[:MAX_BINS]
    expected, found = np.array(shift.expected)[order], np.array(shift.found)[order]
    figure, (axes,) = style.new_figure(5.2, 2.9)
    with style.styled():
        places = np.arange(len(order))
        axes.bar(places - 0.2, expected, width=0.4, color=style.FAINT, label="reference")
        axes.bar(places + 0.2, found, width=0.4, color=style.WRONG if shift.drifted else style.ACCENT, label="window")
        axes.set_xticks(places, [style.shorten(shift.bins[place], 14) for place in order], rotation=45, ha="right")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_title(style.shorten(shift.name, 40))
        axes.legend()
        style.clean_frame(axes, grid="y")
    return Picture(name, shift.name, figure, f"{shift.name}: {shift.distance.effect:.0%} of rows differ")


def quality_over_time(quality: Quality) -> Picture:
    """Each step's figure with its interval, and the test set's as a line."""
    steps = quality.over_time
    figure, (axes,) = style.new_figure(6.4, 3.0)
    places = np.arange(len(steps))
    values = np.array([step.value for step in steps])
    low, high = (np.array([getattr(step, key) for step in steps]) for key in ("low", "high"))
    with style.styled():
        if quality.tested is not None:
            axes.axhline(quality.tested.value, color=style.MUTED, linewidth=1.0, linestyle="--", label="test set")
        axes.errorbar(
            places, values, yerr=[np.maximum(0, values - low), np.maximum(0, high - values)],
            color=style.WRONG if quality.fallen else style.ACCENT, marker="o", markersize=4, linewidth=1.4,
            label="in service",
        )  # fmt: skip
        every = max(1, len(steps) // 6)
        axes.set_xticks(places[::every], [step.name[5:16].replace("T", " ") for step in steps[::every]])
        axes.set_title(f"{quality.metric} over time")
        axes.legend()
        style.clean_frame(axes, grid="y")
    return Picture("quality-over-time", "Quality over time", figure, f"{quality.metric} of {len(steps)} steps in time")

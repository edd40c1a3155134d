"""Pictures of a sweep's outcome: its history, its learning curves, and the trade between objectives.

In all of them the best trial is blue and large, others are grey, pruned ones hollow or dashed, failed ones crosses.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.sweep.search.trial import COMPLETE, FAILED, PRUNED, Objective, Trial
from flywheel.sweep.show.scale import reach, scale_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def best_first(trials: Iterable[Trial], objective: Objective) -> list[Trial]:
    """The complete trials that have a score, the best first; among equals the oldest first."""
    sign = -1.0 if objective.mode == "max" else 1.0
    good = [trial for trial in trials if trial.state == COMPLETE and math.isfinite(trial.score)]
    return sorted(good, key=lambda trial: (sign * trial.score, trial.number))


def score_so_far(trial: Trial) -> float:
    """The score, or what the metric has come to where there is none yet; NaN where there is neither."""
    there = [x for x in trial.curve or () if math.isfinite(x)]
    return trial.score if math.isfinite(trial.score) else there[-1] if there else math.nan


def draw_history(trials: Sequence[Trial], objective: Objective, file: Path) -> bool:
    """Draw the score of each ended trial by number, and the best so far as steps.

    Returns:
        Whether there was anything to draw: a complete trial with a score. Without one no file is written.
    """
    from flywheel.report import style

    good = best_first(trials, objective)
    if not good:
        return False
    ended = sorted((trial for trial in trials if trial.ended), key=lambda trial: trial.number)
    pick: Callable[..., float] = max if objective.mode == "max" else min
    steps = sorted(good, key=lambda trial: trial.number)
    best_so_far = list(itertools.accumulate((trial.score for trial in steps), pick))
    figure, (axes,) = style.new_figure(8.4, 3.8)
    with style.styled():
        numbers = [trial.number for trial in steps] + [ended[-1].number + 0.5]
        axes.step(numbers, [*best_so_far, best_so_far[-1]], where="post", color=style.ACCENT, label="best so far")
        draw_trials(axes, {trial.number: trial.number for trial in ended}, ended, objective)
        above = 10 if objective.mode == "max" else -10
        axes.annotate(
            f"{good[0].score:.4g}", (good[0].number, good[0].score), xytext=(0, above), textcoords="offset points",
            ha="center", va="bottom" if above > 0 else "top", weight="bold", color=style.ACCENT,
        )  # fmt: skip
        axes.set_xlim(ended[0].number - 0.7, ended[-1].number + 0.7)
        _label(axes, "trial", objective)
        add_legend(figure)
    style.save_png(figure, file)
    return True


def draw_curves(trials: Sequence[Trial], objective: Objective, file: Path) -> bool:
    """Draw the metric of every trial by epoch, the best one in front.

    Returns:
        Whether there was anything to draw: a complete trial with a score, and a curve.
    """
    from flywheel.report import style

    good = best_first(trials, objective)
    shown = [trial for trial in trials if any(math.isfinite(x) for x in trial.curve)]
    if not good or not shown:
        return False
    best = good[0]
    figure, (axes,) = style.new_figure(8.4, 4.2)
    with style.styled():
        for trial in sorted(shown, key=lambda trial: -len(trial.curve)):
            label, colour, line = _CURVES.get(trial.state, ("running", style.MUTED, ":"))
            look: dict[str, Any] = {"color": colour, "linestyle": line, "label": label, "linewidth": 1, "alpha": 0.8}
            if trial.state != COMPLETE:
                look |= {"linewidth": 1.4, "zorder": 3}
            if trial is best:
                look |= {"color": style.ACCENT, "label": "the best", "linewidth": 2.4, "alpha": 1, "zorder": 4}
            # A line through a single epoch would not be seen.
            marker = "o" if sum(math.isfinite(x) for x in trial.curve) < 2 else ""
            axes.plot(range(1, len(trial.curve) + 1), trial.curve, marker=marker, markersize=4, **look)
        if best in shown and best.epoch is not None and 0 < best.epoch <= len(best.curve):
            look = {"color": style.ACCENT, "edgecolor": style.PAPER, "zorder": 5, "label": "its kept epoch"}
            axes.scatter([best.epoch], [best.curve[best.epoch - 1]], s=60, **look)
        settings = "  ".join(f"{key.split('.')[-1]}={value}" for key, value in best.params.items())
        axes.set_title(style.shorten(f"trial {best.number}, the best:  {settings}", 108), weight="normal", fontsize=9)
        everything = [x for trial in shown for x in trial.curve if math.isfinite(x)]
        axes.set_ylim(*reach(everything, objective))
        _label(axes, "epoch", objective)
        add_legend(figure)
    style.save_png(figure, file)
    return True


_CURVES = {
    COMPLETE: ("other trials", "#98a3ad", "-"),
    PRUNED: ("pruned", "#9a7fb8", (0, (4, 2))),
    FAILED: ("failed", "#d55e00", (0, (1, 1))),
}


def draw_pareto(trials: Sequence[Trial], objectives: Sequence[Objective], front: set[int], file: Path) -> bool:
    """Draw the complete trials in each pair of objectives, those of the front with their numbers.

    With two objectives the front is joined by the border of what it reaches; with three, a pair shows only part of
    what makes a trial belong to the front, and there is no such border.

    Args:
        trials: All trials.
        objectives: Two or three objectives.
        front: Numbers of the trials that no other trial beats in everything.
        file: Picture to write.

    Returns:
        Whether there was anything to draw: two objectives, and a complete trial that has them all.
    """
    from flywheel.report import style

    num = len(objectives)
    good = [t for t in trials if t.state == COMPLETE and len(t.values) == num and all(map(math.isfinite, t.values))]
    if num < 2 or not good:
        return False
    pairs = list(itertools.combinations(range(num), 2))
    figure, panels = style.new_figure(*((6.4, 4.6) if num == 2 else (4.3 * len(pairs), 4.2)), 1, len(pairs))
    with style.styled():
        for axes, (first, second) in zip(panels, pairs, strict=True):
            points = {trial.number: (trial.values[first], trial.values[second]) for trial in good}
            others = [point for number, point in points.items() if number not in front]
            ahead = sorted((point, number) for number, point in points.items() if number in front)
            if others:
                x, y = zip(*others, strict=True)
                axes.scatter(x, y, s=26, color=style.MUTED, alpha=0.6, label="other trials")
            if ahead:
                x, y = zip(*(point for point, _ in ahead), strict=True)
                corner: Any = "steps-pre" if objectives[first].mode == "max" else "steps-post"
                if num == 2:
                    axes.plot(x, y, color=style.ACCENT, linewidth=1.2, alpha=0.6, drawstyle=corner)
                label = "the front: nothing beats these in everything"
                axes.scatter(x, y, s=50, color=style.ACCENT, edgecolor=style.PAPER, zorder=3, label=label)
            for direction, place in (("x", first), ("y", second)):
                scale_axis(axes, direction, [trial.values[place] for trial in good], objectives[place])
            _number_points(axes, ahead, [objectives[place].mode for place in (first, second)])
            style.clean_frame(axes, grid="both")
        add_legend(figure)
    style.save_png(figure, file)
    return True


def draw_trials(axes: Axes, places: Mapping[int, float], trials: Sequence[Trial], objective: Objective) -> None:
    """Draw ended trials as points over their scores: complete, pruned, the best, and failed ones at the bottom.

    Scores far worse than the others would press those together: they are triangles at the edge.

    Args:
        axes: Their y axis is set to fit.
        places: x of each trial to draw, by its number.
        trials: Trials, at least one of them complete. Those without a position are not drawn, but count for the y axis.
        objective: Objective that the score belongs to.
    """
    from flywheel.report import style

    good = best_first(trials, objective)
    pruned = {trial.number: score_so_far(trial) for trial in trials if trial.state == PRUNED}
    pruned = {number: score for number, score in pruned.items() if math.isfinite(score)}
    # Pruned ones have not come as far, and may lie beyond the edge; not those that were good, though.
    count = [score for score in pruned.values() if (score - good[-1].score) * (good[0].score - good[-1].score) >= 0]
    low, high = reach([*(trial.score for trial in good), *count], objective)
    scores = {trial.number: trial.score for trial in good} | pruned
    failed = [places[trial.number] for trial in trials if trial.state == FAILED and trial.number in places]
    low -= 0.08 * (high - low) if failed else 0.0  # room for the crosses
    axes.set_ylim(low, high)
    axes.ticklabel_format(axis="y", useOffset=False)
    drawn = {number: (places[number], score) for number, score in scores.items() if number in places}
    far = {number for number, (_, score) in drawn.items() if not low <= score <= high}
    edge, marker = (0.02, "v") if objective.mode == "max" else (0.98, "^")
    best = {good[0].number}
    hollow = {"facecolor": style.PAPER, "edgecolor": style.MUTED, "linewidth": 1.1}
    looks: list[tuple[set[int], dict[str, Any]]] = [
        ({*drawn} - far - best - {*pruned}, {"s": 26, "color": style.MUTED, "alpha": 0.75, "label": "complete"}),
        ({*pruned} & {*drawn} - far, {"s": 24, "label": "pruned", **hollow}),
        (best & {*drawn}, {"s": 80, "color": style.ACCENT, "zorder": 5, "label": "the best"}),
    ]
    for numbers, look in looks:
        if numbers:
            x, y = zip(*(drawn[number] for number in sorted(numbers)), strict=True)
            axes.scatter(x, y, **{"zorder": 3, **look})
    at_height: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
    if far:
        x = tuple(drawn[number][0] for number in sorted(far))
        look = {"color": style.SECOND, "label": "far worse", "zorder": 4, **at_height}
        axes.scatter(x, [edge] * len(x), s=30, marker=marker, **look)
    if failed:
        look = {"color": style.WRONG, "linewidth": 1.6, "label": "failed", "zorder": 4, **at_height}
        axes.scatter(failed, [0.04] * len(failed), s=34, marker="x", **look)


def add_legend(figure: Figure) -> None:
    """Write one legend below all panels, each name once."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    columns = max(2, int(figure.get_figwidth() / 1.4))
    if found:
        figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=min(len(found), columns))


def _label(axes: Axes, name: str, objective: Objective) -> None:
    from matplotlib.ticker import MaxNLocator

    from flywheel.report import style

    axes.ticklabel_format(axis="y", useOffset=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel(name)
    axes.set_ylabel(f"validation {objective.name}")
    style.clean_frame(axes, grid="y")


def _number_points(axes: Axes, points: Sequence[tuple[tuple[float, float], int]], modes: Sequence[str]) -> None:
    """Write trial numbers beside points, on the side where nothing better lies, but not over one another."""
    from matplotlib.patheffects import withStroke

    from flywheel.report import style

    taken: list[tuple[float, float]] = []
    to_axes = (axes.transScale + axes.transLimits).transform
    right, up = (mode == "max" for mode in modes)
    halo = [withStroke(linewidth=2, foreground=style.PAPER)]
    look: Any = {"ha": "left" if right else "right", "va": "bottom" if up else "top"}
    for point, number in points:
        x, y = to_axes(point)
        if all(abs(x - other_x) > 0.05 or abs(y - other_y) > 0.05 for other_x, other_y in taken):
            taken.append((x, y))
            beside: Any = {"xytext": (4 if right else -4, 3 if up else -3), "textcoords": "offset points"}
            axes.annotate(f"{number}", point, fontsize=8, path_effects=halo, zorder=4, **beside, **look)

"""Pictures of what each setting of a sweep does: slices, parallel coordinates, and Optuna's importances."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.sweep.search.space import Dimension
from flywheel.sweep.search.trial import Objective, Trial
from flywheel.sweep.show.pictures import add_legend, best_first, draw_trials
from flywheel.sweep.show.scale import Scale, number_ticks, reach, scale_of, short_key, short_texts

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes

MAX_PANELS = 9
MAX_AXES = 11
MAX_BARS = 20
TOP_SHARE = 0.25
"""`importances` asks what the best quarter of the trials has in common."""


def importances(study: optuna.Study) -> dict[str, float]:
    """Say how much each setting decides whether a trial is among the best quarter: shares of 1, the greatest first.

    It is Optuna's PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255): no random numbers, quick, and it takes settings
    that only some trials have. With several objectives it is about the first one.

    Args:
        study: Study, of which complete trials with a finite value are used.

    Returns:
        A share for each setting that varies; empty for fewer than four trials, for fewer than two such settings, and
        where Optuna sees no difference, or refuses.
    """
    import optuna

    sign = 1.0 if study.directions[0] == optuna.study.StudyDirection.MINIMIZE else -1.0
    trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    trials = [trial for trial in trials if trial.values and math.isfinite(trial.values[0])]
    seen: dict[str, set[str]] = {}
    for trial in trials:
        for key, value in trial.params.items():
            seen.setdefault(key, set()).add(repr(value))
    varied = sorted(key for key, values in seen.items() if len(values) > 1)
    if len(trials) < 4 or len(varied) < 2 or len({trial.values[0] for trial in trials}) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=TOP_SHARE)
    with warnings.catch_warnings():
        # It warns that low targets count as good (so they do here), and of settings that few trials have.
        warnings.simplefilter("ignore")
        try:
            found = optuna.importance.get_param_importances(
                study, evaluator=evaluator, params=varied, target=lambda trial: sign * trial.values[0], normalize=False
            )
        except (ValueError, RuntimeError):
            return {}
    total = sum(found[key] for key in varied)
    if not total > 0 or not math.isfinite(total):
        return {}
    return {key: found[key] / total for key in sorted(varied, key=lambda key: (-found[key], key))}


def draw_importance(importances: Mapping[str, float], file: Path) -> bool:
    """Draw importances as bars, the greatest on top.

    Returns:
        Whether there was anything to draw.
    """
    from flywheel.report import style

    shown = sorted(((x, key) for key, x in importances.items() if math.isfinite(x)), key=lambda one: (-one[0], one[1]))
    shown = shown[:MAX_BARS][::-1]
    if not shown:
        return False
    figure, (axes,) = style.new_figure(7.2, 0.9 + 0.32 * len(shown))
    with style.styled():
        axes.barh(range(len(shown)), [x for x, _ in shown], height=0.62, color=style.ACCENT)
        for place, (share, _) in enumerate(shown):
            style.label_end(axes, share, place, f"{share:.0%}")
        axes.set_yticks(range(len(shown)), [short_key(key, 34) for _, key in shown])
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.set_xlim(0, max(shown[-1][0], 1e-9) * 1.08)
        axes.set_xticks([])
        axes.set_xlabel("how much it decides which trials are the best quarter")
        style.clean_frame(axes)
    style.save_png(figure, file)
    return True


def draw_slices(trials: Sequence[Trial], dimensions: Sequence[Dimension], objective: Objective, file: Path) -> bool:
    """Draw the score against each dimension's value: a panel for each of the first nine.

    A bar marks the median of a choice. Trials that lack a dimension are not in its panel.

    Returns:
        Whether there was anything to draw: a dimension, and a complete trial with a score.
    """
    from flywheel.report import style

    good = best_first(trials, objective)
    shown = dimensions[:MAX_PANELS]
    if not good or not shown:
        return False
    columns = len(shown) if len(shown) < 4 else math.ceil(len(shown) / math.ceil(len(shown) / 3))
    rows = math.ceil(len(shown) / columns)
    figure, panels = style.new_figure(max(4.6, 3.3 * columns), 0.6 + 2.7 * rows, rows, columns, sharey=True)
    with style.styled():
        for place, (axes, dimension) in enumerate(zip(panels, shown, strict=False)):
            scale = scale_of(dimension, trials)
            places = {t.number: x + scale.spread(t) for t in trials if (x := scale.at(t)) is not None}
            draw_trials(axes, places, trials, objective)
            if dimension.kind == "choice":
                _medians(axes, scale, good)
            labels = short_texts(scale.labels, 13)
            is_long = max(map(len, labels)) > 44 / len(labels)
            slant: Any = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if is_long else {}
            axes.set_xticks(scale.ticks, labels, **slant)
            axes.set_xlim(-0.05, 1.05)
            axes.set_xlabel(short_key(dimension.key, 34))
            if place % columns == 0:
                axes.set_ylabel(f"validation {objective.name}")
            style.clean_frame(axes, grid="both" if dimension.kind != "choice" else "y")
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        add_legend(figure)
    style.save_png(figure, file)
    return True


def draw_parallel(trials: Sequence[Trial], dimensions: Sequence[Dimension], objective: Objective, file: Path) -> bool:
    """Draw each complete trial as a line through its values of the first eleven dimensions, to its score.

    The darker, the better; the best line is on top. A trial that lacks a dimension passes below its axis.

    Returns:
        Whether there was anything to draw: a dimension, and a complete trial with a score.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patheffects import withStroke

    from flywheel.report import style

    good = best_first(trials, objective)
    shown = dimensions[:MAX_AXES]
    if not good or not shown:
        return False
    scales = [scale_of(dimension, good) for dimension in shown]
    low, high = reach((trial.score for trial in good), objective)
    scores = Scale(lambda trial: math.nan, *number_ticks(low, high))
    colours = LinearSegmentedColormap.from_list("better", ["#dfe4e9", "#9cc3dd", style.ACCENT, "#00304d"])
    figure, (axes,) = style.new_figure(1.6 + 1.55 * len(shown), 4.6)
    halo = [withStroke(linewidth=3, foreground=style.PAPER)]
    with style.styled():
        for trial in reversed(good):
            up = min(max((trial.score - low) / (high - low), 0.0), 1.0)
            places = [scale.at(trial) for scale in scales]
            y = [
                -0.13 if at is None else at + scale.spread(trial) / 3 for at, scale in zip(places, scales, strict=True)
            ]
            is_best = trial is good[0]
            colour = style.WRONG if is_best else colours(up if objective.mode == "max" else 1 - up)
            axes.plot([*y, up], color=colour, linewidth=2.4 if is_best else 1.1, alpha=1 if is_best else 0.8)
        for place, scale in enumerate([*scales, scores]):
            axes.plot([place, place], [0, 1], color=style.MUTED, linewidth=1, zorder=3)
            labels = list(zip(scale.ticks, short_texts(scale.labels, 16), strict=True))
            if place < len(scales) and any(scale.at(trial) is None for trial in good):
                labels.append((-0.13, "not used"))
            for at, text in labels:
                axes.plot([place - 0.02, place + 0.02], [at, at], color=style.MUTED, linewidth=1, zorder=3)
                axes.annotate(
                    text, (place, at), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8,
                    path_effects=halo, zorder=6,
                )  # fmt: skip
        names = [dimension.key.rpartition(".") for dimension in shown]
        titles = [f"{short_key(head, 18)}{dot}\n{style.shorten(name, 20)}" for head, dot, name in names]
        axes.set_xticks(range(len(scales) + 1), [*titles, f"validation\n{objective.name}"], color=style.INK)
        axes.xaxis.tick_top()
        axes.set_xlabel(f"a line for each trial, the darker the better; orange: trial {good[0].number}, the best")
        axes.xaxis.set_label_position("bottom")
        axes.set_xlim(-0.15, len(scales) + 0.45)
        axes.set_ylim(-0.17, 1.03)
        axes.set_yticks([])
        style.clean_frame(axes)
    style.save_png(figure, file)
    return True


def _medians(axes: Axes, scale: Scale, good: Sequence[Trial]) -> None:
    from flywheel.report import style

    scores: dict[float, list[float]] = {}
    for trial in good:
        if (place := scale.at(trial)) is not None:
            scores.setdefault(place, []).append(trial.score)
    for place, found in scores.items():
        if len(found) < 2:
            continue
        middle, half = statistics.median(found), 0.3 * scale.step
        axes.plot([place - half, place + half], [middle, middle], color=style.INK, linewidth=1.6, label="median")

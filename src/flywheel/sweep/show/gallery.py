"""The pictures of a sweep, those that its trials have something to show in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.sweep.search.folder import SweepPlan
from flywheel.sweep.search.trial import Trial
from flywheel.sweep.show import pictures
from flywheel.sweep.show.importance import draw_importance, draw_parallel, draw_slices, importances

if TYPE_CHECKING:
    from flywheel.sweep.search.study import Study

_FEW = 4  # below it, the table says all


def draw_all(folder: Path, plan: SweepPlan, trials: Sequence[Trial], study: Study | None) -> list[str]:
    """Draw history, curves, slices, parallel coordinates, importance and Pareto front into the sweep's folder.

    Returns:
        Names of the files.
    """
    shown, objective = list(trials), plan.objectives[0]
    draws: dict[str, Callable[[Path], bool]] = {}
    if len(shown) >= _FEW:
        draws = {
            "history.png": partial(pictures.draw_history, shown, objective),
            "curves.png": partial(pictures.draw_curves, shown, objective),
            "slices.png": partial(draw_slices, shown, plan.space, objective),
            "parallel.png": partial(draw_parallel, shown, plan.space, objective),
        }
    if study is not None and len(shown) >= _FEW and (found := importances(study.optuna)):
        draws["importance.png"] = partial(draw_importance, found)
    if study is not None and len(plan.objectives) > 1:
        draws["pareto.png"] = partial(pictures.draw_pareto, shown, plan.objectives, study.front())
    return [name for name, draw in draws.items() if draw(folder / name)]

"""A command line's overrides, composed before anything starts: the task, the sweep, and what is searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flywheel.project.compose import as_plain, compose, compose_task
from flywheel.project.params import project_root
from flywheel.sweep.search.settings import SweepConfig, sweep_from
from flywheel.sweep.search.space import Dimension, dimensions, overrides_of, parse, split

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class CommandLine:
    """What a command line's overrides compose to, its targets not yet looked at.

    Attributes:
        sweep: The settings of a sweep.
        space: Search space; empty: nothing is searched.
        launcher: Hydra's, which runs the trials.
        tasks: The task's settings, once for each value that is tried.
    """

    sweep: SweepConfig
    space: list[Dimension]
    launcher: DictConfig
    tasks: list[dict[str, Any]]

    def check_targets(self) -> None:
        """Check what only the targets know; imports torch.

        Raises:
            ConfigError: A target is not there, or does not take an argument or its value.
        """
        from flywheel.learner.task_check import check_task

        for task in self.tasks:
            check_task(task, "", project_root())


def compose_command_line(overrides: Sequence[str]) -> CommandLine:
    """Compose a command line's overrides before anything starts, each value of a sweep on its own.

    Raises:
        ConfigError: An override names a group or key that does not exist, or cannot be parsed.
    """
    root = project_root()
    parsed = parse(overrides)
    launcher = [str(one.input_line) for one in parsed if one.key_or_group.startswith(("hydra/", "hydra.launcher"))]
    base, swept = split([one for one in parsed if not one.is_hydra_override()])
    composed = compose(root, "train", [*launcher, *base], with_hydra=True)
    alone = compose(root, "train", [*launcher, "~task"], with_hydra=True)
    sweep = sweep_from(as_plain(composed.sweep) if composed.get("sweep") else None)
    space = dimensions(sweep.params, swept, sweep.method)
    firsts: dict[str, str] = {}
    for dimension in space:
        if dimension.exists(firsts):
            firsts[dimension.key] = dimension.samples[0]
    tasks = [compose_task(root, [*base, *overrides_of(firsts)], launcher=launcher, alone=alone)]
    for dimension in space:
        parent, _, needed = dimension.when.partition("=")
        others = firsts | ({parent: needed} if parent else {})
        for value in dimension.samples[1 if dimension.key in firsts else 0 : 20]:
            params = {**others, dimension.key: value}
            kept = {one.key: params[one.key] for one in space if one.key in params and one.exists(params)}
            tasks.append(compose_task(root, [*base, *overrides_of(kept)], launcher=launcher, alone=alone))
    return CommandLine(sweep, space, composed.hydra.launcher, tasks)

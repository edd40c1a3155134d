"""Arguments that several commands have."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from flywheel.project.errors import FlywheelError


def _tasks(incomplete: str) -> list[str]:
    """The tasks of `params.yaml` for the shell's completion; none outside a project."""
    from flywheel.project.params import load_params

    with contextlib.suppress(FlywheelError):
        return [name for name in load_params()["tasks"] if name.startswith(incomplete)]
    return []


TaskName = Annotated[str, typer.Argument(metavar="TASK", help="A task of params.yaml.", autocompletion=_tasks)]

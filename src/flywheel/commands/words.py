"""Arguments that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="A task of params.yaml.")]

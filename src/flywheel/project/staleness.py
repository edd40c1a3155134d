"""Whether `params.yaml` is stale, said once by stages that run without the params stage."""

from __future__ import annotations

import logging
import os

from flywheel.project.errors import FlywheelError
from flywheel.project.params import project_root, state_dir

log = logging.getLogger("flywheel")


def warn_if_stale() -> None:
    """Say once for each `dvc repro` that `params.yaml` is stale, for stages that run without the params stage (`-s`).

    Hashing `conf/` takes milliseconds; only where something has changed is it composed.
    """
    if in_experiment():
        return
    from flywheel.project import compose

    root = project_root()
    try:
        if not compose.is_stale(root):
            return
        why = "params.yaml differs from what conf/ composes to"
    except FlywheelError as error:
        why = f"conf/ does not compose ({error})"
    if _first_in_this_repro():
        log.warning("flywheel: warning: %s; run `make params`, or this run ignores the change", why)


def in_experiment() -> bool:
    """Whether DVC runs an experiment: it has composed `params.yaml` itself, and `-S` makes it differ from `conf/`."""
    return "DVC_EXP_BASELINE_REV" in os.environ or "DVC_EXP_NAME" in os.environ


def _first_in_this_repro() -> bool:
    """Whether no stage of the same `dvc` process has warned yet (DVC is the stages' parent)."""
    note = state_dir() / "warned"
    parent = str(os.getppid())
    if note.is_file() and note.read_text() == parent:
        return False
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(parent)
    return True

"""Warns, in a stage's output, that `params.yaml` is not what `conf/` says."""

from __future__ import annotations

import logging
import os

from flywheel.errors import FlywheelError
from flywheel.params import project_root, state_dir

log = logging.getLogger("flywheel")


def warn_if_stale() -> None:
    """Say once for each `dvc repro` that `params.yaml` is stale.

    In a `dvc exp run` it differs from `conf/` on purpose (`-S`), and nothing is said. Hashing `conf/` takes
    milliseconds; only where something has changed is it composed.
    """
    if "DVC_EXP_BASELINE_REV" in os.environ or "DVC_EXP_NAME" in os.environ:
        return
    from flywheel import compose

    root = project_root()
    try:
        if not compose.is_stale(root):
            return
        why = "params.yaml differs from what conf/ composes to"
    except FlywheelError as error:
        why = f"conf/ does not compose ({error})"
    if _first_in_this_repro():
        log.warning("flywheel: warning: %s; run `make params`, or this run ignores the change", why)


def _first_in_this_repro() -> bool:
    """Whether no stage of the same `dvc` process has warned yet (DVC is the stages' parent)."""
    note = state_dir() / "warned"
    parent = str(os.getppid())
    if note.is_file() and note.read_text() == parent:
        return False
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(parent)
    return True

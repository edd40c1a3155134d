"""Watches a running sweep's folder, wherever its jobs run, and shows the progress."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flywheel.sweep.search.folder import SweepPlan, trials_in
from flywheel.sweep.show.progress import SweepProgress

_POLL_SECONDS = 1.0


@contextmanager
def watched(folder: Path, plan: SweepPlan) -> Iterator[None]:
    """Show a sweep's progress while the block runs, without trials that had ended before.

    Args:
        folder: The sweep's folder.
        plan: Plan of the sweep.
    """
    progress = SweepProgress(plan.num_planned, plan.space, plan.objectives[0])
    progress.know(trials_in(folder))
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_POLL_SECONDS):
            progress.update(trials_in(folder))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        progress.update(trials_in(folder))
        progress.close()

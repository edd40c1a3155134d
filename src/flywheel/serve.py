"""The inference server: a supervisor that asks the registry, and workers that answer (`python -m flywheel.serve`)."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flywheel.stage import explained, set_up_process

if TYPE_CHECKING:
    from flywheel.serving.record import Recorder
    from flywheel.serving.served import Champion
    from flywheel.serving.web_route import Look
    from flywheel.types import Json

WORKER = (sys.executable, "-m", "flywheel.serve")
STORE = "flywheel.feedback.store"


def serve(tasks: Sequence[str], say: Callable[[str], None], *, root: Path, **options: Any) -> None:
    """Serve the champions of the tasks until SIGTERM or Ctrl+C.

    Args:
        tasks: Registered models; none: all that have a champion.
        say: Told, in a line, where the server is.
        root: The project, whose `conf/serving.yaml` is read. Nothing in it is written.
        **options: Settings that go over that file's, where they are not None.

    Raises:
        FlywheelError: A setting is wrong, a task has no champion, or the port is taken.
    """
    from flywheel.serving.champions import Champions
    from flywheel.serving.door import read_tokens
    from flywheel.serving.settings import load_settings
    from flywheel.serving.supervisor import Supervisor
    from flywheel.tracking import open_to_read

    settings = load_settings(root, **options)
    tokens = read_tokens(Path(settings.tokens) if settings.tokens else None)
    Supervisor(settings, Champions(open_to_read(), tasks), WORKER, tokens, say).run()


def recorder() -> Recorder | None:
    """What keeps predictions and feedback; None where this installation has no feedback store."""
    try:
        store = importlib.import_module(STORE)
    except ModuleNotFoundError as error:
        if error.name and STORE.startswith(error.name):
            return None
        raise
    return cast("Recorder", store.FeedbackStore.of_project())


def look_with(kept: bool) -> Look:
    """What the page `/live` shows of a version; what looks is made when somebody asks, for it loads scipy.

    Args:
        kept: Whether the server keeps its predictions.
    """

    def look(champion: Champion) -> Json:
        return _watcher(kept)(champion)

    return look


@functools.cache
def _watcher(kept: bool) -> Look:
    from flywheel.monitor.live import Watcher

    return Watcher(importlib.import_module(STORE).FeedbackStore if kept else None)


def main() -> int:
    """Be a worker: read from standard input what to do."""
    from flywheel.serving.worker import run_worker

    set_up_process()
    with explained() as outcome:
        run_worker(recorder, look_with)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())

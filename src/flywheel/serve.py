"""The inference server: a supervisor that asks the registry, and workers that answer (`python -m flywheel.serve`)."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flywheel.project.stage import explained, set_up_process

if TYPE_CHECKING:
    from flywheel.project.types import Json
    from flywheel.serving.process.live_cache import Look
    from flywheel.serving.version.record import Recorder
    from flywheel.serving.version.served import ChampionVersion

WORKER = (sys.executable, "-m", "flywheel.serve")
LOOK = (*WORKER, "look")
LOOK_SECONDS = 120
"""A look takes seconds; one that takes longer is given up."""
NICE = 10
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
    from flywheel.project.tracking import open_to_read
    from flywheel.serving.http.access import read_tokens
    from flywheel.serving.process.supervisor import Supervisor
    from flywheel.serving.settings import load_settings
    from flywheel.serving.version.champions import Champions

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
    """What the page `/live` shows of a version, looked up in a process of its own.

    A look loads scipy, reads a thousand rows and more, and takes seconds: in the worker, its memory would stay, and its
    work would hold up answers.

    Args:
        kept: Whether the server keeps its predictions.
    """
    from flywheel.serving.problem import RequestError

    def look(champion: ChampionVersion) -> Json:
        line = json.dumps({"champion": asdict(champion), "kept": kept})
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PROMETHEUS_")}
        done = subprocess.run(LOOK, input=line, capture_output=True, text=True, env=environment, check=False)
        if done.returncode == 0:
            return cast("Json", json.loads(done.stdout))
        said = (done.stderr.strip().splitlines() or [f"it took over {LOOK_SECONDS} s"])[-1]
        what, fix = f"the task cannot be monitored: {said[:500]}", "see the server's log, or `flywheel monitor`"
        raise RequestError(503, what, where="server", fix=fix, headers={"retry-after": "30"})

    return look


def look_once() -> None:
    """Look at the version that standard input names, and write what is seen to standard output.

    Raises:
        FlywheelError: It cannot be seen.
    """
    from flywheel.monitor.live import look
    from flywheel.serving.version.served import ChampionVersion

    os.nice(NICE)  # answers come first
    signal.alarm(LOOK_SECONDS)  # also where the worker has gone
    asked = json.loads(sys.stdin.read())
    store = importlib.import_module(STORE).FeedbackStore() if asked["kept"] else None
    sys.stdout.write(json.dumps(look(ChampionVersion(**asked["champion"]), store)))


def main() -> int:
    """Be a worker, and read from standard input what to do; or with the word `look` look at one version."""
    set_up_process()
    with explained() as outcome:
        if sys.argv[1:] == [LOOK[-1]]:
            look_once()
        else:
            from flywheel.serving.process.worker import run_worker

            run_worker(recorder, look_with)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())

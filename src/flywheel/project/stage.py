"""What every stage does round its work: arguments, settings, whole outputs or none, one line for a bad input."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from flywheel.project.config import TaskConfig
from flywheel.project.errors import FlywheelError

log = logging.getLogger("flywheel")


def run_stage(verb: str, work: Callable[[TaskConfig], None], arguments: list[str] | None = None) -> int:
    """Run one stage as DVC calls it: `python -m flywheel.<verb> --task NAME`.

    Args:
        verb: Name of the stage.
        work: Does it; the current folder is the project's root.
        arguments: The command line; None: `sys.argv`.

    Returns:
        The exit code: 0, or 2 for an error the user can fix (one line on standard error).
    """
    parser = argparse.ArgumentParser(prog=f"python -m flywheel.{verb}")
    parser.add_argument("--task", required=True, help="a task of params.yaml")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(arguments)
    set_up_process()
    with explained(debug=options.debug) as outcome:
        from flywheel.project.dvc_lock import keep_what_dvc_has_read
        from flywheel.project.params import load_task, project_root
        from flywheel.project.staleness import warn_if_stale

        os.chdir(project_root())
        keep_caches_writable()
        task = load_task(options.task)
        warn_if_stale()
        keep_what_dvc_has_read(project_root())
        work(task)
    return outcome.code


class Outcome:
    """The exit code that `explained` arrived at."""

    code = 0


@contextlib.contextmanager
def explained(*, debug: bool = False) -> Iterator[Outcome]:
    """Turn a FlywheelError, or a full disk, into one line and exit code 2; a bug keeps its traceback."""
    outcome = Outcome()
    try:
        yield outcome
    except FlywheelError as error:
        if debug:
            raise
        _say(str(error))
        outcome.code = 2
    except KeyboardInterrupt:
        _say("interrupted; the same command resumes where it can")
        outcome.code = 130
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            outcome.code = 128 + signal.SIGPIPE
            return
        if debug or (error.filename is None and error.errno is None):
            raise
        _say(f"{error.filename or 'disk'}: {error.strerror or error}; free space or fix the permissions")
        outcome.code = 2


def _nobody_reads() -> bool:
    """Whether what this prints goes into a pipe that is closed (`| head`); if so, Python's end has nothing to flush."""
    try:
        pipe = sys.stdout.fileno()
    except OSError:  # no file
        return False
    poll = select.poll()
    poll.register(pipe, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), pipe)
    return True


def _say(line: str) -> None:
    sys.stderr.write(f"flywheel: error: {line.replace(chr(10), ' ')}\n")


def set_up_process() -> None:
    """Send the package's log lines to standard error, bare, and end fast; called by every program, and in workers."""
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        # Python's last collection goes through all that torch and MLflow have made, for two seconds, and frees nothing
        # that the system does not free with the process.
        atexit.register(gc.freeze)


def keep_caches_writable() -> None:
    """Give matplotlib (which torchmetrics imports) a folder of ours where the home folder cannot be written to."""
    if not os.access(Path("~").expanduser(), os.W_OK):
        from flywheel.project.params import state_dir

        os.environ.setdefault("MPLCONFIGDIR", str(state_dir() / "matplotlib"))

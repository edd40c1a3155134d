"""What every stage does round its work: arguments, settings, whole outputs or none, one line for a bad input."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import json
import logging
import os
import select
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flywheel.config import TaskConfig
from flywheel.errors import DataError, FlywheelError
from flywheel.types import Json

log = logging.getLogger("flywheel")


def run_stage(verb: str, work: Callable[[TaskConfig], None], arguments: list[str] | None = None) -> int:
    """Run one stage as DVC calls it: `python -m flywheel.<verb> --task NAME`.

    Args:
        verb: The stage's name.
        work: Does it; the current folder is the project's root.
        arguments: The command line; None: `sys.argv`.

    Returns:
        The exit code: 0, or 2 for an error the user can mend (one line on standard error).
    """
    parser = argparse.ArgumentParser(prog=f"python -m flywheel.{verb}")
    parser.add_argument("--task", required=True, help="a task of params.yaml")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(arguments)
    set_up_process()
    with explained(debug=options.debug) as outcome:
        from flywheel.dvc_lock import keep_what_dvc_has_read
        from flywheel.params import load_task, project_root
        from flywheel.staleness import warn_if_stale

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
        _say("interrupted; the same command goes on where it can")
        outcome.code = 130
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            outcome.code = 128 + signal.SIGPIPE
            return
        if debug or (error.filename is None and error.errno is None):
            raise
        _say(f"{error.filename or 'disk'}: {error.strerror or error}; free space or mend the permissions")
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
        from flywheel.params import state_dir

        os.environ.setdefault("MPLCONFIGDIR", str(state_dir() / "matplotlib"))


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target` that takes its place when the block ends well, and goes when it fails.

    A killed stage leaves the old target, or none, but never half of one under the target's name.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(target.parent)
    part = target.parent / f".{target.name}.{os.getpid()}.part"
    part.mkdir()
    try:
        yield part
        if target.exists():
            shutil.rmtree(target)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a name beside `target` to write to; it takes the target's place when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(target.parent)
    part = target.parent / f".{target.name}.{os.getpid()}.part"
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def all_or_nothing(files: Sequence[Path]) -> Iterator[None]:
    """Put several files, and the folders that hold them, back as they were if the block fails or is interrupted."""
    before = {file: file.read_bytes() if file.is_file() else None for file in files}
    folders = [file.parent for file in files if not file.parent.exists()]
    try:
        yield
    except BaseException:
        for file, content in before.items():
            if content is None:
                file.unlink(missing_ok=True)
            elif not file.is_file() or file.read_bytes() != content:
                with whole_file(file) as part:
                    part.write_bytes(content)
        for folder in folders:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def read_json(file: Path) -> Json:
    """Read a stage's JSON output.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        found: Any = json.loads(file.read_text())
    except FileNotFoundError:
        raise DataError(file, None, "missing", mend="run `dvc repro`") from None
    except ValueError as error:
        raise DataError(file, None, f"is no JSON: {error}", mend="run `dvc checkout`, or make it again") from None
    if not isinstance(found, dict):
        raise DataError(file, None, "holds no mapping", mend="run `dvc checkout`, or make it again")
    return found


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder, of any stage's; a living process keeps its own.

    Of any stage's, because DVC may restore the killed stage's output from its cache and never start it again.
    """
    for part in folder.glob(".*.*.part"):
        pid = part.name.rsplit(".", 2)[1]
        if pid.isdigit() and not is_alive(int(pid)):
            shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is more than a name that nobody has waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process is dead and only not yet waited for, as in containers whose first process never waits."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False

"""Runs the project's own commands for the loop: in a session of their own, with a log, ended as a whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

END_SECONDS = 10


def commands(root: Path, task: str) -> list[list[str]]:
    """What a retraining runs: the feedback becomes rows, and DVC rebuilds what they reach."""
    dvc = root / ".venv/bin/dvc"
    program = [str(dvc)] if dvc.is_file() else [sys.executable, "-m", "dvc"]
    pull = [sys.executable, "-m", "flywheel.command.cli", "feedback", "pull", task]
    return [pull, [*program, "repro", f"register@{task}"]]


def run(command: Sequence[str], root: Path, log: Path, seconds: float, begun: Callable[[int], None]) -> int:
    """Run one command to its end.

    Args:
        command: The command and its arguments.
        root: The project; its own code is imported.
        log: The file that what it says is added to.
        seconds: After which it is ended.
        begun: Called with the pid of the process.

    Returns:
        Its exit code; 124 where it took too long, 127 where it could not be started.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), *_given_path()])}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        stream.write(f"> {' '.join(command)}\n".encode())
        stream.flush()
        try:
            process = subprocess.Popen(
                command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            stream.write(f"cannot be started: {error}\n".encode())
            return 127
        try:
            begun(process.pid)
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            stream.write(f"ended after {seconds:g} s\n".encode())
            return 124
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command and all that it started, if it is still there."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
            return


def still_running(pid: int | None) -> bool:
    """Whether a command that a killed loop began goes on without it."""
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True  # no /proc here: believe the pid
    return b"dvc" in words or b"flywheel" in words


def tail(log: Path) -> str:
    """The last three lines that say something, as one."""
    if not log.is_file():
        return ""
    told = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return " | ".join(told[-3:])[-400:]


def _given_path() -> list[str]:
    given = os.environ.get("PYTHONPATH", "")
    return given.split(os.pathsep) if given else []

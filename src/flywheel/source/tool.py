"""Runs the command of a package manager and makes one line of what it complains about."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from flywheel.source.base import SkippedError

LONGEST_S = 3600
NO_NETWORK = (
    "Name or service not known",
    "Temporary failure in name resolution",
    "Temporary failure resolving",
    "Could not resolve",
    "nodename nor servname provided",
    "Network is unreachable",
    "Connection refused",
    "timed out",
)
"""What a package manager's output holds when it could not reach its index; its last line may not say so."""


def run_tool(command: Sequence[str], folder: Path) -> str:
    """Run a command in a folder.

    Args:
        command: The program and its arguments; no shell is involved.
        folder: The working folder.

    Returns:
        What it printed on standard output.

    Raises:
        SkippedError: The program is not there, fails, or takes more than an hour.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LONGEST_S,
            check=False,
        )
    except FileNotFoundError:
        raise SkippedError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise SkippedError(f"{command[0]} does not end within {LONGEST_S} s") from None
    if done.returncode != 0:
        raise SkippedError(_complaint(done.stderr or done.stdout, done.returncode))
    return done.stdout


def _complaint(output: str, code: int) -> str:
    """Find the line that says what is wrong: the last error, or the last line; and whether the network is behind it."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "ERROR:"))]
    found = (errors or lines)[-1:]
    if not found:
        return f"fails with exit code {code}"
    network = next((words for words in NO_NETWORK if words in output), None)
    return found[0].removeprefix("E:").removeprefix("ERROR:").strip() + (f" ({network})" if network else "")

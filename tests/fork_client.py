"""A `python` for `src/stage.sh` in tests: hands its words to `fork_server.py`, and ends as that child does.

Called as `python -I -S fork_client.py SOCKET PYTHON words ...`. Where the words are neither `-m flywheel...` nor `-c`,
it becomes PYTHON itself: pytest, for one, must be the first to import what it rewrites.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

MODES = ("-m", "-c")
COLD = "FLYWHEEL_TEST_COLD"


def ask(
    path: str, words: list[str], streams: list[int], *, cwd: str, environment: dict[str, str], session: bool, tied: bool
) -> socket.socket:
    """Ask for a child; the answer is two lines: its process id, and when it has ended its status.

    Raises:
        OSError: Nobody answers there.
    """
    heeds = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # what a new process would inherit
    asked = {"words": words, "cwd": cwd, "environment": environment, "session": session, "tied": tied, "heeds": heeds}
    body = json.dumps(asked).encode()
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
        socket.send_fds(connection, [len(body).to_bytes(4, "big")], streams)
        connection.sendall(body)
    except OSError:
        connection.close()
        raise
    return connection


def main() -> None:
    """Stand for the child: its signals, its exit code."""
    path, python, *words = sys.argv[1:]
    is_ours = words[:1] == ["-c"] or (words[:1] == ["-m"] and words[1].startswith("flywheel"))
    if not is_ours or os.environ.get(COLD):
        os.execv(python, [python, *words])
    settings = {"cwd": str(Path.cwd()), "environment": dict(os.environ), "session": False, "tied": True}
    connection = ask(path, words, [0, 1, 2], **settings)  # type: ignore[arg-type]
    with connection, connection.makefile("r") as answer:
        pid = int(answer.readline())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda got, _: os.kill(pid, got))
        status = int(answer.readline() or signal.SIGKILL)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()

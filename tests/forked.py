"""`run` and `Popen` of `subprocess` for the Python commands of tests, without the seconds of their imports.

A training spends more on importing torch, Lightning and MLflow (7 s) than on its work, and the suite starts hundreds.
So a worker of pytest starts one process that has imported them (`fork_server.py`), and each `python -m ...` or
`python -c ...` of a test is a fork of it. It runs the code of the folder that the test names, as ever. What only a
new process can have is refused: an option of the interpreter, a terminal, another value of a variable that libraries
or the interpreter read while they are loaded. `FLYWHEEL_TEST_COLD=1` starts all of them afresh, or one, where a test
gives it this variable.
"""

from __future__ import annotations

import atexit
import inspect
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests import fork_client

HERE = Path(__file__).parent
COLD = fork_client.COLD
# Read by the interpreter, the C library or a library while it is loaded.
_AT_START = (
    "PYTHON", "LD_", "LC_", "LANG", "TZ", "MALLOC", "GLIBC", "OMP_", "GOMP", "KMP_", "MKL_", "OPENBLAS", "NUMEXPR",
    "TORCH", "PYTORCH", "CUDA", "NCCL", "MPL", "MLFLOW_", "JOBLIB", "LOKY", "HF_", "TRANSFORMERS", "SETUPTOOLS",
    "NO_COLOR", "FORCE_COLOR", "SLURM",
)  # fmt: skip
# Set by scikit-learn, Lightning, PyTorch, Ray and `flywheel`, in the process of the tests too once they are imported;
# the last ones are read when they are needed. The process that forks has not imported Ray.
_READ_LATER = {
    "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "PYTORCH_NVML_BASED_CUDA_CHECK", "TORCHINDUCTOR_CACHE_DIR",
    "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "MPLCONFIGDIR",
    "PYTHONPATH", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING",
    "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "PYTHONBREAKPOINT",
}  # fmt: skip
# The server's: without what one test or its tools have set.
_OTHERS = ("COVERAGE", "COV_", "PYTEST", "FLYWHEEL", "DVC")
_ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name not in _READ_LATER and not name.startswith(_OTHERS)
} | {"MLFLOW_DISABLE_TELEMETRY": "true"}


class Popen(subprocess.Popen[Any]):
    """A process like `subprocess.Popen`'s; a fork where that makes no difference."""

    _connection: socket.socket | None = None
    _answer = b""

    def _execute_child(self, *given: Any) -> None:
        call = inspect.signature(super()._execute_child).bind(*given).arguments  # type: ignore[misc]
        environment = dict(os.environ if call["env"] is None else call["env"])
        folder = str(Path.cwd() / Path(call["cwd"] or "."))
        wanted = (call[name] for name in ("p2cread", "c2pwrite", "errwrite"))
        streams = [number if stream == -1 else stream for number, stream in enumerate(wanted)]
        if not _is_to_fork(call["args"], folder, environment):
            super()._execute_child(*given)  # type: ignore[misc]
            return
        _refuse_what_no_fork_can_be(call, environment, streams)
        self._connection = fork_client.ask(
            server().path, list(map(str, call["args"][1:])), streams, cwd=folder, environment=environment,
            session=call["start_new_session"], tied=False,
        )  # fmt: skip
        self.pid = int(self._line(blocking=True) or 0)
        assert self.pid, "the process that forks has ended"
        self._child_created = True
        names = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(call[name] for name in names))  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._connection is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc, no-any-return]
        line = self._line(blocking=not wait_flags & os.WNOHANG)
        if line is None:
            return 0, 0
        self._connection.close()
        return self.pid, int(line or signal.SIGKILL)

    def _internal_poll(self, _deadstate: int | None = None, **unused: Any) -> int | None:
        if self._connection is None:
            return super()._internal_poll(_deadstate, **unused)  # type: ignore[misc, no-any-return]
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                pid, status = self._try_wait(os.WNOHANG)
                if pid == self.pid:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode

    def _line(self, *, blocking: bool) -> bytes | None:
        """The next line of the answer; empty where the server has ended, None where it is not there yet."""
        assert self._connection is not None
        while b"\n" not in self._answer:
            if not blocking and not select.select([self._connection], [], [], 0)[0]:
                return None
            more = self._connection.recv(64)
            if not more:
                return b""
            self._answer += more
        line, _, self._answer = self._answer.partition(b"\n")
        return line


def run(
    words: list[str],
    *,
    input: str | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **settings: Any,
) -> subprocess.CompletedProcess[Any]:
    """`subprocess.run`, with `Popen` of this module."""
    if input is not None:
        settings["stdin"] = subprocess.PIPE
    if capture_output:
        settings |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(words, **settings) as process:
        try:
            out, err = process.communicate(input, timeout=timeout)
        except BaseException:  # as in `subprocess.run`: neither a timeout nor Ctrl+C leaves it running
            process.kill()
            raise
    done = subprocess.CompletedProcess(words, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def lend_python(folder: Path) -> None:
    """Give a project in a test a `.venv` whose `python` is a fork, for the stages that DVC starts there."""
    place, real = folder / ".venv", Path(sys.prefix)
    place.unlink(missing_ok=True)
    if sys.platform != "linux" or os.environ.get(COLD):
        place.symlink_to(real)
        return
    (place / "bin").mkdir(parents=True)
    for path in (*(real / "bin").iterdir(), *real.iterdir()):
        if path.name not in ("bin", "python"):
            (place / path.relative_to(real)).symlink_to(path)
    words = [sys.executable, "-I", "-S", str(HERE / "fork_client.py"), server().path, sys.executable]
    (place / "bin/python").write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    (place / "bin/python").chmod(0o755)


class Server:
    """The process that forks; it ends when this one does."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="flywheel-fork-"))
        self.path = str(self._folder / "socket")
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "fork_server.py"), self.path, str(theirs.fileno())], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_ENVIRONMENT, cwd="/", pass_fds=[theirs.fileno()],
            )  # fmt: skip
        atexit.register(self.close)
        if self._control.recv(16) != b"ready\n":
            raise RuntimeError(f"the process that forks did not start: {self._process.communicate()[1].decode()}")

    def close(self) -> None:
        """End it and all its children."""
        self._control.close()
        with self._process:
            pass
        shutil.rmtree(self._folder, ignore_errors=True)


@cache
def server() -> Server:
    """The one of this process."""
    return Server()


def _is_to_fork(words: Any, folder: str, environment: Mapping[str, str]) -> bool:
    """Whether this starts this Python, in a folder that is there, and the test does not ask for a new process."""
    afresh = sys.platform != "linux" or os.environ.get(COLD) or environment.get(COLD)
    return not afresh and isinstance(words, list) and words[0] == sys.executable and Path(folder).is_dir()


def _refuse_what_no_fork_can_be(call: Mapping[str, Any], environment: Mapping[str, str], streams: list[int]) -> None:
    """Raise where a new process would differ from a fork.

    To start it afresh in silence would bring all the seconds back with the first variable that some library sets.
    """
    unusual = ("executable", "preexec_fn", "pass_fds", "startupinfo", "creationflags", "shell", "gids")
    found = [name for name in unusual if call[name]]
    found += [name for name in ("gid", "uid", "umask", "process_group") if call[name] not in (None, -1)]
    found += [name for name in ("close_fds", "restore_signals") if not call[name]]
    found += [name for name in call["args"][1:2] if name not in fork_client.MODES]
    found += ["a terminal"] * any(map(os.isatty, streams))
    names = {name for name in {*environment, *_ENVIRONMENT} if name.startswith(_AT_START) and name not in _READ_LATER}
    found += sorted(name for name in names if environment.get(name) != _ENVIRONMENT.get(name))
    if found:
        raise ValueError(f"no fork has its own {', '.join(found)}: use `subprocess`, or give it the variable {COLD}")

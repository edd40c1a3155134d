"""The process that `tests/forked.py` asks for children: it has imported what takes seconds, and forks.

It has imported libraries only, never `flywheel`: each child imports that from its own folder. A child is made as alike
to one that was started afresh as can be: arguments, folder, environment, `sys.path`, streams, signals, `__main__`.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

# What stages, sweeps and DVC spend their seconds on; measured with `python -X importtime -m flywheel.<stage>`.
LIBRARIES = (
    "torch", "torch.onnx", "torch.export", "torch._dynamo", "torch.onnx._internal.exporter._core", "torchmetrics",
    "pytorch_lightning", "mlflow", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store", "mlflow.system_metrics.system_metrics_monitor", "alembic.command",
    "pandas", "pyarrow.parquet", "pyarrow.pandas_compat", "matplotlib.pyplot", "sklearn.metrics",
    "sklearn.linear_model", "scipy.stats", "onnx", "onnxscript.function_libs.torch_lib.ops.common", "networkx",
    "safetensors.torch", "safetensors.numpy", "hydra", "optuna", "joblib", "sqlalchemy.orm",
    "sqlalchemy.dialects.sqlite", "filelock", "cryptography.fernet", "ruamel.yaml", "typer", "dvc_data.hashfile",
    "dvc_objects.fs", "scmrepo.git",
)  # fmt: skip
_LENGTH = 4


class Server:
    """Children by process id, and the connections of those who asked for them."""

    def __init__(self, path: str, control: socket.socket) -> None:
        self.control = control
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.asked: dict[int, tuple[socket.socket, bool]] = {}
        self.woken, self.wake = socket.socketpair()
        self.woken.setblocking(False)
        self.wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self.wake.fileno())
        self.selector = selectors.DefaultSelector()
        for one in (self.control, self.listener, self.woken):
            self.selector.register(one, selectors.EVENT_READ)

    def next_child(self) -> dict[str, Any] | None:
        """Wait until this is a child, and give what it was asked for; None where this is to end."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.control:
                    self.end()
                    return None
                if key.fileobj is self.woken:
                    with contextlib.suppress(BlockingIOError):
                        self.woken.recv(4096)
                elif key.fileobj is self.listener:
                    request = self.fork()
                    if request is not None:
                        return request
                else:
                    self.hung_up(key.fileobj)  # type: ignore[arg-type]
            self.reap()

    def fork(self) -> dict[str, Any] | None:
        """Answer one who asks: its child gets what was asked for, this process None."""
        connection, _ = self.listener.accept()
        request = receive(connection)
        if request is None:
            connection.close()
            return None
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            self.selector.close()
            for one in (self.control, self.listener, self.woken, self.wake, connection):
                one.close()
            for other, _ in self.asked.values():
                other.close()
            return request
        for stream in request["streams"]:
            os.close(stream)
        connection.sendall(f"{pid}\n".encode())
        self.asked[pid] = (connection, request["tied"])
        self.selector.register(connection, selectors.EVENT_READ)
        return None

    def reap(self) -> None:
        """Tell those whose children have ended how they did."""
        for pid, (connection, _) in list(self.asked.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with contextlib.suppress(OSError):
                    connection.sendall(f"{status}\n".encode())
                self.forget(connection)
                del self.asked[pid]

    def hung_up(self, connection: socket.socket) -> None:
        """One who asked has gone: its child goes too where it stood for it."""
        self.selector.unregister(connection)
        for pid, (other, tied) in self.asked.items():
            if other is connection and tied:
                os.kill(pid, signal.SIGKILL)

    def forget(self, connection: socket.socket) -> None:
        """Close a connection."""
        with contextlib.suppress(KeyError):
            self.selector.unregister(connection)
        connection.close()

    def end(self) -> None:
        """Leave no child behind."""
        for pid in self.asked:
            os.kill(pid, signal.SIGKILL)


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """Read what is asked for, with the three streams; None from one that hung up before."""
    fds = array.array("i")
    message, ancillary, _, _ = connection.recvmsg(_LENGTH, socket.CMSG_LEN(3 * fds.itemsize))
    for _, _, data in ancillary:
        fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    body = b""
    with connection.makefile("rb") as stream:
        if len(message) == _LENGTH:
            length = int.from_bytes(message, "big")
            body = stream.read(length)
    if len(fds) != 3 or not body:
        return None
    request: dict[str, Any] = json.loads(body)
    return {**request, "streams": list(fds)}


def become(request: dict[str, Any], library_path: list[str]) -> None:
    """Make this process what a new one with these arguments would be."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler if request["heeds"] else signal.SIG_IGN)
    if request["session"]:
        os.setsid()
    for number, stream in enumerate(request["streams"]):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    words = request["words"]
    first = str(Path.cwd()) if words[0] == "-m" else ""
    given = [str(Path.cwd() / path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = dict.fromkeys([first, *given, *library_path])
    sys.argv = [words[0], *words[2:]]
    sys.orig_argv = [sys.executable, *words]
    importlib.invalidate_caches()
    _renew_what_libraries_keep()
    if os.environ.get("COVERAGE_PROCESS_START"):
        importlib.import_module("coverage").process_startup()


def _renew_what_libraries_keep() -> None:
    import multiprocessing.process
    import tempfile

    import numpy as np

    tempfile.tempdir = None
    multiprocessing.process.ORIGINAL_DIR = str(Path.cwd())  # type: ignore[attr-defined]
    np.random.seed()


def run(words: list[str]) -> None:
    """Run `-m MODULE` or `-c PROGRAM` as the interpreter does, in an empty `__main__`."""
    names = vars(sys.modules["__main__"])
    builtins = names["__builtins__"]
    names.clear()
    names |= {"__name__": "__main__", "__doc__": None, "__package__": None, "__loader__": None, "__spec__": None}
    names |= {"__annotations__": {}, "__builtins__": builtins}
    if words[0] == "-m":
        runpy._run_module_as_main(words[1])  # type: ignore[attr-defined]
    else:
        exec(compile(words[1], "<string>", "exec"), names)


def finish(words: list[str]) -> NoReturn:
    """Run them and end as the interpreter does, but for its last step: to free each object copies every page (1 s)."""
    code, interrupted = 0, False
    try:
        run(words)
    except SystemExit as stop:
        code = _code_of(stop.code)
    except BaseException as error:  # noqa: BLE001 - what the interpreter itself does with one
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        error.__traceback__ = trace
        sys.excepthook(type(error), error, trace)
        code, interrupted = 1, isinstance(error, KeyboardInterrupt)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = 120
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


def _code_of(given: Any) -> int:
    if given is None or isinstance(given, int):
        return (given or 0) & 0xFF
    sys.stderr.write(f"{given}\n")
    return 1


def main() -> None:
    """Import, then serve: `fork_server.py SOCKET CONTROL`."""
    path, control = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
    library_path = sys.path[:]
    del sys.modules[__name__]
    for name in LIBRARIES:
        importlib.import_module(name)
    own = [name for name in sys.modules if name.split(".")[0] in ("flywheel", "hydra_plugins", "tests")]
    assert not own, f"a child would not see the {own} of its own folder"
    assert sys.stdout is sys.__stdout__, "a library has put its own stream there"
    assert threading.active_count() == 1, f"a fork would lose {threading.enumerate()}"
    gc.collect()
    gc.freeze()  # or each child's collections would copy every page
    server = Server(path, control)
    control.sendall(b"ready\n")
    request = server.next_child()
    if request is None:
        os._exit(0)
    become(request, library_path)
    finish(request["words"])


if __name__ == "__main__":
    # As a module of its own, so that children can have `__main__`; its folder leaves the path before anything else.
    import fork_server

    del sys.path[0]
    fork_server.main()

"""A forked process is what a new one would be: `tests/forked.py`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests import forked

ROOT = Path(__file__).parent.parent
FORKS = sys.platform == "linux" and not os.environ.get(forked.COLD)  # elsewhere every process is a new one


def both(*words: str, **settings: Any) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    """The same command forked, and started afresh."""
    settings = {"capture_output": True, "text": True, "check": False, "timeout": 60} | settings
    return forked.run([sys.executable, *words], **settings), subprocess.run([sys.executable, *words], **settings)


def test_it_is_a_fork(tmp_path: Path) -> None:
    done = forked.run(
        [sys.executable, "-c", "import sys; print('pytorch_lightning' in sys.modules, 'flywheel' in sys.modules)"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == f"{FORKS} False\n"


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("print('out'); import sys; print('err', file=sys.stderr)", 0),
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit('said')", 1),
        ("import os; os._exit(4)", 4),
        ("def f():\n    1 / 0\nf()", 1),
        ("1 +", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("import atexit, sys; atexit.register(print, 'at the end'); print('before'); sys.exit(5)", 5),
        ("import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()", 0),
        ("import sys; print(sys.argv, sys.path, sys.orig_argv, __name__, sorted(globals()))", 0),
        ("import os; print(os.getcwd(), os.getpgrp() == os.getpgid(os.getppid()), sorted(os.environ))", 0),
        ("import signal; print([signal.getsignal(n) for n in (1, 2, 13, 15, 17)])", 0),
        ("import sys; print(sys.stdin.read(), sys.stdout.encoding, sys.stderr.errors, sys.stdout.line_buffering)", 0),
        ("import os; print([os.fstat(n).st_nlink > 0 for n in (0, 1, 2)], os.isatty(1))", 0),
        ("import warnings; warnings.warn('once', stacklevel=1)", 0),
        ("import matplotlib; print(matplotlib.get_backend(), matplotlib.rcParams['backend'])", 0),
    ],
)
def test_a_program(tmp_path: Path, program: str, code: int) -> None:
    environment = {**os.environ, "PYTHONPATH": f"relative{os.pathsep}{tmp_path}", "OF_THE_TEST": "1"}
    fork, fresh = both("-c", program, "a word", cwd=tmp_path, env=environment, input="given")
    assert (fork.returncode, fork.stdout, fork.stderr) == (code, fresh.stdout, fresh.stderr)
    assert fresh.returncode == code


@pytest.mark.parametrize("text", ["import sys; print(__file__, __spec__.name, sys.argv)", "import sys\n1 / 0", "1 +"])
def test_a_module(tmp_path: Path, text: str) -> None:
    (tmp_path / "a_module.py").write_text(text)
    fork, fresh = both("-m", "a_module", "a word", cwd=tmp_path)
    assert (fork.returncode, fork.stdout, fork.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)


def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    fork, fresh = both("-m", "not_there", cwd=tmp_path)
    assert (fork.returncode, fork.stderr) == (1, fresh.stderr)


def test_the_code_of_the_folder_runs_as_it_is_now(tmp_path: Path) -> None:
    package = tmp_path / "src/flywheel"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for said in ("first", "edited, and longer"):
        (package / "train.py").write_text(f"print({said!r}, __file__)")
        done = forked.run(
            [sys.executable, "-m", "flywheel.train"], env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout == f"{said} {package / 'train.py'}\n"


def test_two_forks_draw_different_numbers() -> None:
    program = "import random, numpy, tempfile; print(random.random(), numpy.random.rand(), tempfile.mktemp())"
    first, second = (forked.run([sys.executable, "-c", program], capture_output=True, text=True) for _ in range(2))
    assert not {*first.stdout.split()} & {*second.stdout.split()}


@pytest.mark.parametrize(
    ("words", "settings", "said"),
    [
        (["-c", "1"], {"env": {**os.environ, "OMP_NUM_THREADS": "7"}}, "OMP_NUM_THREADS"),
        (["-c", "1"], {"umask": 0o77}, "umask"),
        (["-X", "importtime", "-c", "1"], {}, "-X"),
    ],
)
def test_what_no_fork_can_be_is_refused_and_not_started_afresh(
    words: list[str], settings: dict[str, Any], said: str
) -> None:
    refused = pytest.raises(ValueError, match=f"its own {said}: use `subprocess`")
    with refused if FORKS else contextlib.nullcontext():
        forked.run([sys.executable, *words], **settings)


def test_variables_that_libraries_set_in_the_process_of_the_tests_hinder_no_fork() -> None:
    libraries = "import pytorch_lightning, sklearn.linear_model, mlflow.pyfunc, torch._inductor, ray, onnxruntime"
    program = f"""{libraries}, sys
from tests import forked
assert forked.run([sys.executable, "-c", "import sys; print('torch' in sys.modules)"]).returncode == 0"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == f"{FORKS}\n"


def test_a_test_can_ask_for_a_new_process() -> None:
    program = "import os, sys; print('torch' in sys.modules, os.environ['OMP_NUM_THREADS'])"
    environment = {**os.environ, "OMP_NUM_THREADS": "7", forked.COLD: "1"}
    done = forked.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout == "False 7\n"


# Where tests run in the background of a shell, their children ignore Ctrl+C.
WAITS = """import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(9)
"""


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (lambda process: process.send_signal(signal.SIGINT), 9),
        (lambda process: process.terminate(), -signal.SIGTERM),
        (lambda process: os.kill(process.pid, signal.SIGKILL), -signal.SIGKILL),
        (lambda process: os.killpg(process.pid, signal.SIGKILL), -signal.SIGKILL),
    ],
)
def test_a_signal(stop: Callable[[subprocess.Popen[str]], None], code: int) -> None:
    process = forked.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process:
        assert process.stdout.readline() == "ready\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
        stop(process)
        assert process.wait(timeout=30) == process.poll() == code
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_timeout_kills_it(tmp_path: Path) -> None:
    program = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"
    with pytest.raises(subprocess.TimeoutExpired):
        forked.run([sys.executable, "-c", program], cwd=tmp_path, timeout=3)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_subprocess_refuses_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        forked.run([sys.executable, "-c", "1"], cwd=tmp_path / "not there")
    with pytest.raises(subprocess.CalledProcessError):
        forked.run([sys.executable, "-c", "import sys; sys.exit(1)"], check=True)


@pytest.fixture
def lent(tmp_path: Path) -> Path:
    """The `python` of a project, whose path has a space."""
    folder = tmp_path / "a project"
    folder.mkdir()
    forked.lend_python(folder)
    return folder / ".venv/bin/python"


def test_a_lent_python_stands_for_its_fork(lent: Path, tmp_path: Path) -> None:
    program = "import os, sys; print(sys.argv, os.getcwd(), sys.stdin.read(), sys.prefix, 'torch' in sys.modules)"
    program += "; sys.exit(6)"
    words = ["-c", program, "two words", "$HOME"]
    done = subprocess.run([lent, *words], cwd=tmp_path, input="given", capture_output=True, text=True, check=False)
    said = f"{['-c', 'two words', '$HOME']} {tmp_path} given {sys.prefix} {FORKS}\n"
    assert (done.returncode, done.stdout, done.stderr) == (6, said, "")
    assert subprocess.run([lent, "-V"], capture_output=True, text=True, check=True).stdout.startswith("Python 3")
    assert os.access(lent.parent / "dvc", os.X_OK)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 9), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGKILL, -9)]
)
def test_a_signal_to_a_lent_python_reaches_its_fork(lent: Path, number: int, code: int) -> None:
    program = "import os; print(os.getpid(), flush=True)\n" + WAITS
    with subprocess.Popen([lent, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        fork = int(process.stdout.readline())
        assert (fork != process.pid) == FORKS
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(timeout=30) == code
    deadline = time.monotonic() + 30
    while psutil.pid_exists(fork) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not psutil.pid_exists(fork)


def test_without_the_process_that_forks_a_lent_python_fails(lent: Path) -> None:
    if FORKS:
        lent.write_text(lent.read_text().replace(forked.server().path, "/not/there"))
    done = subprocess.run([lent, "-c", "1"], capture_output=True, text=True)
    assert (done.returncode != 0) == ("FileNotFoundError" in done.stderr) == FORKS

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from flywheel.monitor.rebuild import commands, run, still_running, tail


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_what_a_command_says_is_kept_and_its_exit_code_given(tmp_path: Path) -> None:
    log, pids = tmp_path / "logs/run.log", []
    program = (
        "import sys, os; print(os.environ['PYTHONPATH'].split(os.pathsep)[0], flush=True)\n"
        "print('bad', file=sys.stderr); sys.exit(3)"
    )
    assert run(python(program), tmp_path, log, 60, pids.append) == 3
    assert len(pids) == 1
    assert tail(log).endswith(f"{tmp_path / 'src'} | bad")
    assert log.read_text().startswith(f"> {sys.executable} -c")
    assert not still_running(pids[0])


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    inner = "import time; time.sleep(600)"
    program = (
        "import pathlib, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {inner!r}])\n"
        "pathlib.Path('child').write_text(str(child.pid)); time.sleep(600)"
    )
    log = tmp_path / "run.log"
    assert run(python(program), tmp_path, log, 3, lambda pid: None) == 124
    assert "ended after 3 s" in log.read_text()
    child, end = int((tmp_path / "child").read_text()), time.monotonic() + 10
    while _alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_command_that_is_not_there_is_no_traceback(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    assert run([str(tmp_path / "nothing")], tmp_path, log, 5, lambda pid: None) == 127
    assert "cannot be started" in log.read_text()


def test_the_project_s_own_dvc_is_run(tmp_path: Path) -> None:
    assert commands(tmp_path, "digits")[1][1:] == ["-m", "dvc", "repro", "register@digits"]
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/dvc").touch()
    assert commands(tmp_path, "digits")[1] == [str(tmp_path / ".venv/bin/dvc"), "repro", "register@digits"]
    assert not still_running(None)
    assert not still_running(os.getpid() + 2**22)

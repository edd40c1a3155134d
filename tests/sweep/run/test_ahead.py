"""Joblib's workers that are started before there is a trial."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import os, sys, time
from joblib import Parallel, delayed
from flywheel.sweep.search.command_line import compose_command_line
from flywheel.sweep.run.ahead import targets_checked

def look():
    time.sleep(0.5)
    return os.getpid(), "pytorch_lightning" in sys.modules and "mlflow" in sys.modules

line = compose_command_line(["task=digits", "hydra/launcher=joblib", "sweep.slots=2", "optimizer.lr=1e-3,1e-2"])
settings = {key: value for key, value in line.launcher.items() if key not in ("_target_", "n_jobs", "backend")}
with targets_checked(line):
    found = Parallel(**settings, backend="loky", n_jobs=2)(delayed(look)() for _ in range(4))
assert "torch" not in sys.modules, "the sweep's own process has waited for that import"
print(len({pid for pid, _ in found}), all(ready for _, ready in found))
"""


def test_the_launcher_gets_workers_that_have_imported_what_a_training_needs(project: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(project / "src"), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("2 True\n", "")


def test_a_mistake_that_is_found_later_leaves_no_worker(project: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(project / "src"), "THIS_SWEEP": str(project)}
    words = ["task=digits", "hydra/launcher=joblib", "optimizer.lr=1e-3,1e-2", "optimizer._target_=torch.optim.Adm"]
    command = [sys.executable, "-m", "flywheel.train", "-m", *words]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "did you mean 'Adam'" in done.stderr
    deadline = time.monotonic() + 10  # the system reaps in its own time
    while (left := workers_of(project)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def workers_of(project: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("THIS_SWEEP") == str(project) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found

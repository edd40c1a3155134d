"""Sweeps that are killed, and trials that die: nothing twice, nothing lost."""

from __future__ import annotations

import json
import os
import random
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

from flywheel.project.tracking import prepare
from flywheel.sweep.search.folder import read_plan, trials_in

Run = Callable[..., subprocess.CompletedProcess[str]]
NUM_KILLS = int(os.environ.get("FLYWHEEL_TEST_KILLS", "3"))

pytestmark = pytest.mark.slow


def sweeps(project: Path) -> list[Path]:
    return sorted((project / ".flywheel/sweeps/digits").glob("*"))


def start(project: Path, *words: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": str(project / "src")}
    command = [sys.executable, "-m", "flywheel.train", "-m", "task=digits", *words]
    with (project / "sweep.log").open("ab") as log:
        return forked.Popen(command, cwd=project, env=env, stdout=log, stderr=log, start_new_session=True)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def runs_of(task: str) -> tuple[list[Any], list[Any]]:
    """Parents and children."""
    client = prepare()
    runs = client.search_runs([client.get_experiment_by_name(task).experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    return [run for run in runs if run not in children], children


@pytest.mark.end_to_end
def test_a_sweep_that_is_killed_again_and_again_ends_with_each_trial_once(project: Path) -> None:
    words = ["+sweep=random", "sweep.num_trials=12", "sweep.resume=auto", "trainer.max_epochs=12",
             "optimizer.lr=tag(log, interval(1e-4, 1e-2))"]  # fmt: skip
    generator = random.Random(4)
    for _ in range(NUM_KILLS):
        process = start(project, *words)
        before = sum(trial.ended for folder in sweeps(project) for trial in trials_in(folder))

        def one_more(before: int = before) -> bool:
            return sum(trial.ended for folder in sweeps(project) for trial in trials_in(folder)) > before

        wait_for(one_more, process)
        time.sleep(generator.uniform(0.0, 0.4))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert start(project, *words).wait(timeout=300) == 0, (project / "sweep.log").read_text()[-3000:]
    (folder,) = sweeps(project)
    trials, plan = trials_in(folder), read_plan(folder)
    assert plan is not None
    assert plan.finished
    assert [trial.state for trial in trials] == ["complete"] * 12
    assert len({json.dumps(trial.params) for trial in trials}) == 12
    parents, children = runs_of("digits")
    assert [run.info.status for run in parents] == ["FINISHED"]
    finished = [run for run in children if run.info.status == "FINISHED"]
    assert len(finished) == 12
    assert len({run.data.tags["flywheel.overrides"] for run in finished}) == 12
    assert {run.data.tags["model_sha256"] for run in finished} == {trial.model_sha256 for trial in trials}
    # The same command once more finds nothing to go on with, and begins another sweep.
    again = start(project, *words[:1], "sweep.num_trials=1", *words[2:])
    assert again.wait(timeout=300) == 0
    assert len(sweeps(project)) == 2


def test_a_worker_that_is_killed_takes_no_other_trial_along(project: Path) -> None:
    """Trial 1 kills its own process each time, as the kernel does to one that wants too much memory."""
    plugin = project / "src/flywheel/sweep/run/job.py"
    text = plugin.read_text()
    bomb = '    if "0.002" in str(place.parent.joinpath(place.name, places.TRIAL).read_text()):\n'
    bomb += "        import os, signal\n        os.kill(os.getpid(), signal.SIGKILL)\n"
    head = "    with _logged_to(place / places.LOG):\n"
    assert head in text
    plugin.write_text(text.replace(head, bomb + head, 1))
    process = start(
        project, "hydra/launcher=joblib", "sweep.slots=2", "trainer.max_epochs=2", "optimizer=sgd",
        "optimizer.lr=0.001,0.002,0.003,1e30,0.01", "sweep.max_attempts=2",
    )  # fmt: skip
    assert process.wait(timeout=300) == 1
    (folder,) = sweeps(project)
    states = {trial.params["optimizer.lr"]: trial for trial in trials_in(folder)}
    assert {key: trial.state for key, trial in states.items()} == {
        "0.001": "complete", "0.002": "failed", "0.003": "complete", "1e+30": "failed", "0.01": "complete"
    }  # fmt: skip
    assert "killed 2 times" in states["0.002"].error
    assert "no longer finite" in states["1e+30"].error
    said = (project / "sweep.log").read_text()
    assert "killed 2 times" in said
    deadline = time.monotonic() + 30  # workers are told to end, and end a little later than the sweep

    def left() -> list[psutil.Process]:
        return [child for child in psutil.process_iter() if _is_worker_of(child, process.pid)]

    while left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left()


def test_what_is_poisoned_diverges_or_wants_too_much_memory_is_named_and_the_others_finish(project: Path) -> None:
    """The memory is asked for and refused in truth: no machine has the 18 TB of that layer."""
    file = project / "src/flywheel/sweep/run/job.py"
    head = "                result = work(job)\n"
    text = file.read_text()
    assert head in text
    poison = "                if job.noted['params']['optimizer.lr'] == '0.005':\n                    1 / 0\n"
    file.write_text(text.replace(head, poison + head, 1))
    process = start(
        project, "hydra/launcher=joblib", "sweep.slots=2", "trainer.max_epochs=1", "optimizer=sgd",
        "model.net.hidden=[2048,2048],[70000000000]", "optimizer.lr=0.01,0.005,1e30",
    )  # fmt: skip
    assert process.wait(timeout=550) == 1
    (folder,) = sweeps(project)
    ends = {(one.params["model.net.hidden"], one.params["optimizer.lr"]): one for one in trials_in(folder)}
    wide, absurd = "[2048,2048]", "[70000000000]"
    assert ends[wide, "0.01"].state == "complete"
    assert ends[wide, "1e+30"].error.startswith("the training loss is no longer finite")
    assert ends[wide, "0.005"].error == ends[absurd, "0.005"].error == "ZeroDivisionError: division by zero"
    for rate in ("0.01", "1e+30"):
        assert ends[absurd, rate].error.startswith("ran out of memory: ")
    table = (project / "sweep.log").read_text().rpartition(" job ")[2]
    for reason in ("no longer finite", "ZeroDivisionError: division by zero", "ran out of memory"):
        assert reason in table
    (finished,) = [run for run in runs_of("digits")[1] if run.info.status == "FINISHED"]
    assert finished.data.tags["machine.num_threads"] == "1", "as in `dvc repro`, or the weights would differ"


def _is_worker_of(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def test_too_many_failures_end_a_sweep_and_it_can_go_on(project: Path, run_flywheel: Run) -> None:
    words = ("-m", "task=digits", "trainer.max_epochs=1", "optimizer=sgd", "sweep.max_failures=2")
    done = run_flywheel("train", *words, "optimizer.lr=1e30,2e30,3e30,0.01")
    assert done.returncode == 1
    assert "2 trials have failed (sweep.max_failures)" in done.stderr
    assert "sweep.resume=auto" in done.stderr
    (folder,) = sweeps(project)
    assert [trial.state for trial in trials_in(folder)][:2] == ["failed", "failed"]
    more = ("sweep.max_failures=9", "optimizer.lr=1e30,2e30,3e30,0.01", "sweep.resume=auto")
    again = run_flywheel("train", *words, *more)
    assert "going on with" in again.stderr
    assert [trial.state for trial in trials_in(folder)] == ["failed", "failed", "failed", "complete"]

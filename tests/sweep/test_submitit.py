"""Sweeps in submitit's jobs: of this machine, and of a Slurm whose commands are stood in for by a few lines each."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flywheel.project.tracking import prepare
from flywheel.sweep.search.folder import trials_in

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SBATCH = """# Runs an array's jobs at once, and gives each what Slurm would tell it.
import os, re, subprocess, sys
text = open(sys.argv[1]).read()
open("{folder}/seen.sh", "w").write(text)
for index in range(int(re.search(r"--array=0-(\\d+)", text)[1]) + 1):
    told = dict(JOB_ID=f"10{{index}}", ARRAY_JOB_ID="77", ARRAY_TASK_ID=str(index), CPUS_PER_TASK="3", NTASKS="1")
    environment = os.environ | {{f"SLURM_{{key}}": value for key, value in told.items()}}
    process = subprocess.Popen(["bash", sys.argv[1]], env=environment, start_new_session=True)
    open("{folder}/jobs", "a").write(f"77_{{index}} {{process.pid}}\\n")
print("Submitted batch job 77")
"""
SRUN = """import os, sys
words = sys.argv[1:]
log = words[words.index("--output") + 1]
for key, value in (("%A", "77"), ("%a", os.environ["SLURM_ARRAY_TASK_ID"]), ("%t", "0")):
    log = log.replace(key, value)
os.makedirs(os.path.dirname(log), exist_ok=True)
os.dup2(os.open(log, os.O_CREAT | os.O_WRONLY), 1)
os.dup2(1, 2)
os.execvp(words[5], words[5:])
"""
SACCT = """import os
print("JobID|State|NodeList")
for line in open("{folder}/jobs"):
    name, pid = line.split()
    print(f"{{name}}|{{'RUNNING' if os.path.exists('/proc/' + pid) else 'COMPLETED'}}|here")
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the commands, first on the path; what was submitted is in `seen.sh`."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT), ("scancel", "")):
        program = folder / f"{name}.py"
        program.write_text(text.format(folder=folder))
        # Not `#!{sys.executable}`: its path may hold a space.
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(program)])} "$@"\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def sweep_of(project: Path) -> Path:
    (folder,) = (project / ".flywheel/sweeps/digits").glob("*")
    return folder


def states(folder: Path) -> dict[str, str]:
    return {trial.params["optimizer.lr"]: trial.state for trial in trials_in(folder)}


def runs() -> list[Any]:
    client = prepare()
    found = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    return [run for run in found if "mlflow.parentRunId" in run.data.tags]


def instrument(project: Path, bomb: str = "") -> None:
    """Let each trial note its process and its threads after an epoch; then do something there."""
    file = project / "src/flywheel/sweep/run/job.py"
    head = "        places.write_curve(self.place, self.curve)\n"
    text = file.read_text()
    assert head in text
    note = """        import os, signal
        if epoch == 0:
            with (self.place / "starts").open("a") as starts:
                print(os.getpid(), os.environ.get("OMP_NUM_THREADS"), file=starts)
"""
    file.write_text(text.replace(head, head + note + bomb, 1))


def starts_in(folder: Path) -> list[list[str]]:
    return [line.split() for file in folder.glob("*/starts") for line in file.read_text().splitlines()]


def jobs_of(folder: Path) -> list[psutil.Process]:
    """Processes that submitit has started for a sweep."""
    there = [one for one in psutil.process_iter(["cmdline", "status"]) if one.info["status"] != psutil.STATUS_ZOMBIE]
    return [one for one in there if any(str(folder) in word for word in one.info["cmdline"] or ())]


def test_a_job_that_is_killed_or_preempted_loses_no_trial(project: Path, run_flywheel: Run) -> None:
    """One trial kills its job each time; another's is preempted once, and goes on from its first epoch."""
    bomb = """        if "0.002" in self.noted["params"]["optimizer.lr"]:
            os.kill(os.getpid(), signal.SIGKILL)
        if "0.004" in self.noted["params"]["optimizer.lr"] and epoch == 1 and not (self.place / "told").exists():
            (self.place / "told").touch()
            os.kill(os.getpid(), signal.SIGUSR2)
"""
    instrument(project, bomb)
    done = run_flywheel(
        "train", "-m", "task=digits", "hydra/launcher=submitit_local", "sweep.slots=2", "sweep.max_attempts=1",
        "trainer.max_epochs=3", "optimizer=sgd", "optimizer.lr=0.001,0.002,1e30,0.004,0.01", "trainer.num_threads=1",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr[-3000:]
    folder = sweep_of(project)
    assert states(folder) == {
        "0.001": "complete", "0.002": "failed", "1e+30": "failed", "0.004": "complete", "0.01": "complete"
    }  # fmt: skip
    cores = len(psutil.Process().cpu_affinity())
    assert {threads for _, threads in starts_in(folder)} == {str(max(1, cores // 2))}
    assert not jobs_of(folder)
    (preempted,) = [trial for trial in trials_in(folder) if trial.params["optimizer.lr"] == "0.004"]
    assert len(preempted.curve) == 3
    of_it = [run for run in runs() if run.data.tags["flywheel.overrides"].endswith("optimizer.lr=0.004")]
    assert [run.info.status for run in of_it] == ["FINISHED"], "it went on in its own run"
    assert "Caught signal SIGUSR2" in "".join(file.read_text() for file in folder.glob(".submitit/*/*_log.err"))


def test_jobs_that_a_killed_sweep_leaves_are_ended_before_it_goes_on(project: Path) -> None:
    instrument(project)
    command = [
        sys.executable, "-m", "flywheel.train", "-m", "task=digits", "hydra/launcher=submitit_local", "sweep.slots=2",
        "trainer.max_epochs=60", "optimizer.lr=0.001,0.002,0.003", "sweep.resume=auto",
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(project / "src")}
    first = subprocess.Popen(command, cwd=project, env=env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 400
    sweeps = project / ".flywheel/sweeps/digits"
    # A trial that is killed before its first epoch leaves its run KILLED, and begins anew.
    while len(list(sweeps.glob("*/*/curve.json"))) < 2:
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert jobs_of(sweep_of(project)), "jobs outlive the sweep that has submitted them"
    again = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=550, check=False)
    assert again.returncode == 0, again.stderr[-3000:]
    trials = trials_in(sweep_of(project))
    assert [(trial.state, len(trial.curve)) for trial in trials] == [("complete", 60)] * 3
    assert sorted(run.info.status for run in runs()) == ["FINISHED"] * 3
    assert not jobs_of(sweep_of(project))


def test_slurm_is_asked_for_what_the_configuration_says(project: Path, slurm: Path, run_flywheel: Run) -> None:
    instrument(project)
    done = run_flywheel(
        "train", "-m", "task=digits", "hydra/launcher=slurm", "hydra.launcher.partition=short", "sweep.slots=2",
        "hydra.launcher.gres=gpu:1", "hydra.launcher.cpus_per_task=3", "trainer.max_epochs=1",
        "trainer.num_threads=3", "optimizer.lr=0.001,0.002,0.003", PATH=os.environ["PATH"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(states(sweep_of(project)).values()) == {"complete"}
    asked = (slurm / "seen.sh").read_text()
    for word in ("partition=short", "gres=gpu:1", "cpus-per-task=3", "mem=16GB", "time=240", "array=0-1%2", "requeue"):
        assert f"#SBATCH --{word}\n" in asked, word
    assert {threads for _, threads in starts_in(sweep_of(project))} == {"3"}
    assert {run.data.tags["machine.num_threads"] for run in runs()} == {"3"}


def test_settings_that_cannot_be_are_one_line(project: Path, run_flywheel: Run) -> None:
    for words, said in (
        (["hydra/launcher=submitit_locl"], "did you mean 'submitit_local'?"),
        (["hydra/launcher=slurm", "hydra.launcher.partitoin=a"], "no key or group 'hydra.launcher.partitoin'"),
        (["hydra/launcher=submitit_local", "hydra.launcher.nodes=2"], "hydra.launcher.nodes: a trial is one process"),
    ):
        done = run_flywheel("train", "-m", "task=digits", *words, "optimizer.lr=0.001,0.002")
        assert done.returncode == 2
        assert said in done.stderr.splitlines()[-1]

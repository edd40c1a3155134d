"""Seconds of a sweep of 12 trainings by each launcher, start-up and summary included, two at a time where it can.

The peer is Optuna used directly, in a hand-written script: one process asks, calls Flywheel's `train()` with its MLflow
run as a sweep's job does, and tells; no table, no pictures, no resume. All are trainings of scikit-learn's digits
with one thread, in a project of their own in a temporary folder, interleaved. "Alone" is what the twelve trainings took
in the script without its imports: what two processes cannot go below is half of it. Run: python -m bench launchers
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.record import Table

ROOT = Path(__file__).parent.parent
REPEATS = int(os.environ.get("FLYWHEEL_BENCH_REPEATS", "2"))
NUM_TRIALS, SLOTS = 12, 2
SETTINGS = [
    "task=digits", "model.net.hidden=[256,256]", "trainer.batch_size=8", "trainer.max_epochs=32",
    "trainer.num_threads=1",
]  # fmt: skip
RATES = "tag(log,interval(1e-4,1e-2))"
BY_HAND = """
import time
from pathlib import Path
import optuna
from flywheel.project.compose import compose_task
from flywheel.project.params import project_root, task_from
from flywheel.prepare import processed_for
from flywheel.project.stage import set_up_process
from flywheel.train import train
import flywheel.learner.fit

set_up_process()
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(storage="sqlite:///by_hand.db", direction="maximize")
started = time.perf_counter()
for _ in range({num_trials}):
    trial = study.ask()
    rate = trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    task = task_from(compose_task(project_root(), {settings} + [f"optimizer.lr={{rate}}"]), "")
    fitted = train(task, processed_for(task), Path("by_hand") / str(trial.number), watch=lambda epoch, metric: False)
    study.tell(trial, fitted.score)
print(time.perf_counter() - started)
"""
WAYS = {
    "Optuna by hand, train() in a loop": [],
    "basic (no launcher)": ["hydra/launcher=basic"],
    "joblib": ["hydra/launcher=joblib"],
    "ray, a cluster of its own": ["hydra/launcher=ray"],
    "submitit_local": ["hydra/launcher=submitit_local"],
}


def make_project(folder: Path) -> dict[str, str]:
    """Copy what a sweep needs, make the store and the processed data. Returns the environment to run in."""
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "dvc.yaml", folder)
    dropped = ("DVC_", "MLFLOW_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    environment = kept | {"PYTHONPATH": str(folder / "src")}
    for words in (
        ["-c", "from flywheel.project.tracking import prepare; prepare()"],
        ["-m", "flywheel.train", *SETTINGS, "trainer.max_epochs=1"],
    ):
        subprocess.run([sys.executable, *words], cwd=folder, env=environment, check=True, capture_output=True)
    return environment


def run(words: list[str], folder: Path, environment: dict[str, str]) -> tuple[float, str]:
    """Run a program. Returns its seconds and what it printed."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr)
    return seconds, done.stdout


def sweep(launcher: list[str], seed: int) -> list[str]:
    """The command line of a sweep that draws as many learning rates."""
    how = ["+sweep=random", f"sweep.num_trials={NUM_TRIALS}", f"sweep.slots={SLOTS}", f"sweep.seed={seed}"]
    return ["-m", "flywheel.train", "-m", *SETTINGS, f"optimizer.lr={RATES}", *how, *launcher]


def main() -> Table:
    """Measure and return the table."""
    script = BY_HAND.format(num_trials=NUM_TRIALS, settings=SETTINGS)
    columns = ["launcher", "at a time", "seconds", "ratio to Optuna by hand"]
    table = Table("launchers", f"A sweep of {NUM_TRIALS} trainings", columns)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    alone = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        environment = make_project(folder)
        for repeat in range(REPEATS):
            for name, launcher in WAYS.items():
                taken, said = run(sweep(launcher, repeat) if launcher else ["-c", script], folder, environment)
                seconds[name].append(taken)
                print(f"   {name}: {taken:.1f} s, load {os.getloadavg()[0]:.1f}", flush=True)
                alone += [] if launcher else [float(said.split()[-1])]
            for left in ("by_hand", "by_hand.db"):
                shutil.rmtree(folder / left) if (folder / left).is_dir() else (folder / left).unlink()
    peer = next(iter(seconds.values()))
    table.add(["alone: the trainings of the script", 1, f"{statistics.median(alone):.1f}", ""])
    for name, taken in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(taken, peer, strict=True))
        at_a_time = SLOTS if name not in list(WAYS)[:2] else 1
        table.add([name, at_a_time, f"{statistics.median(taken):.1f}", f"{ratio:.2f}"])
    return table

"""Test accuracy of the shipped settings, three seeds each: mean, spread, and seconds of training.

Each training runs in a process of its own through the Hydra application, as a user would start it; the test set is
scored once, afterwards, and decides nothing. Rows that bench/results/accuracy.json has are kept: delete it to measure
them anew (half an hour). Run: python -m bench accuracy
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from bench.record import Table
from flywheel.learner.data import open_part
from flywheel.model.network import load_network

SEEDS = (0, 1, 2)
MNIST5K_CNN = [
    "task=mnist5k", "model=cnn", "augment=image", "scheduler=one_cycle", "optimizer.lr=1e-2", "trainer.max_epochs=30",
    "trainer.batch_size=64", "trainer.keep=last",
]  # fmt: skip
SETTINGS = {
    "fashion, cnn (the default)": ["task=fashion"],
    "fashion, reference mlp": ["task=fashion", "model=mlp", "scheduler=constant", "optimizer.lr=1e-3",
                               "trainer.max_epochs=10", "trainer.batch_size=32"],
    "fashion, reference mlp, scheduler=one_cycle optimizer.lr=3e-3": [
        "task=fashion", "model=mlp", "optimizer.lr=3e-3", "trainer.max_epochs=10", "trainer.batch_size=32"],
    "mnist5k, reference mlp (the default)": ["task=mnist5k"],
    "mnist5k, " + " ".join(MNIST5K_CNN[1:]): MNIST5K_CNN,
}  # fmt: skip


def test_accuracy(model: Path, processed: Path) -> float:
    """Score a model folder on the test set."""
    loaded = load_network(model)
    test = open_part(processed / "test.safetensors", loaded.network.input_names, stream=False)
    right = 0
    for index in torch.split(torch.arange(test.num_rows), 1000):
        rows = test.gather(index)
        target = rows.pop("target")
        right += int((loaded.predict(rows).argmax(1) == target).sum())
    return right / test.num_rows


def train(overrides: list[str], seed: int) -> tuple[float, float]:
    """Train once. Returns test accuracy and seconds from the first epoch line's start to the last."""
    command = [sys.executable, "-m", "flywheel.train", *overrides, f"seed={seed}"]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    folder = re.search(r"model in (.+)/model$", done.stderr, re.M)
    if folder is None:
        raise RuntimeError(done.stderr)
    result = json.loads((Path(folder[1]) / "result.json").read_text())
    return test_accuracy(Path(folder[1]) / "model", Path("data/processed") / result["task"]), seconds


def main() -> Table:
    """Measure and return the table."""
    columns = ["settings", "test accuracy, mean of 3 seeds", "deviation", "lowest", "seconds a run, start-up included"]
    table = Table("accuracy", "Test accuracy over seeds 0, 1, 2", columns)
    kept = Table.load("accuracy")
    known = {row[0]: row for row in kept.rows} if kept else {}
    for name, overrides in SETTINGS.items():
        if name in known:
            table.add(known[name])
            continue
        scores, times = zip(*(train(overrides, seed) for seed in SEEDS), strict=True)
        spread = statistics.stdev(scores)
        table.add([name, f"{statistics.mean(scores):.4f}", f"{spread:.4f}", f"{min(scores):.4f}",
                   f"{statistics.median(times):.0f}"])  # fmt: skip
    return table

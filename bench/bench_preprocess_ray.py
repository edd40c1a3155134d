"""Rows a second of the preprocess stage with Ray Data on all processors of this machine, against one process.

Each run is `preprocessor.pipeline.run.preprocess` with a default task of a modality, in a process of its own with
one thread a process, on seeded data (bench/preprocess_data.py). Ray's is a cluster of its own: the seconds are those of
the wall clock, starting and ending it included, and what starting took stands beside. The two are interleaved, the
better of the repeats counts (other work on the machine only ever adds), and their outputs are compared byte by byte.
Run: python -m bench preprocess_ray
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.bench_preprocess import MODALITIES, ROOT, composed
from bench.record import Table

REPEATS = 2
SIZES = {"audio": (1_000, 8_000), "text": (6_000, 48_000), "image": (40_000, 160_000), "tabular": (10_000, 40_000)}
ENGINES = ("local", "ray")


def main(sizes: dict[str, tuple[int, ...]] = SIZES, repeats: int = REPEATS) -> Table:
    """Measure both engines for each modality and size."""
    columns = ["modality", "rows", "local seconds", "ray seconds", "of these to start", "local rows a second",
               "ray rows a second", "times local's speed", "without the start", "same bytes"]  # fmt: skip
    table = Table(
        "preprocess_ray", f"preprocess by Ray Data on {os.cpu_count()} processors, best of {repeats}", columns
    )
    for name, numbers in sizes.items():
        for rows in numbers:
            with tempfile.TemporaryDirectory(prefix="fw-bench-") as folder:
                table.add(measured(name, rows, Path(folder), repeats))
    return table


def measured(name: str, rows: int, folder: Path, repeats: int) -> list[Any]:
    """One row of the table."""
    (folder / "task.json").write_text(json.dumps(composed(MODALITIES[name])))
    (folder / "raw").mkdir()
    MODALITIES[name].write(folder / "raw", rows)
    runs: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    for _ in range(repeats):
        for engine in ENGINES:
            shutil.rmtree(folder / engine, ignore_errors=True)
            runs[engine].append(run(engine, folder))
    local, ray = (min(runs[engine], key=lambda one: one["seconds"]) for engine in ENGINES)
    same = {file.name: file.read_bytes() for file in (folder / "local").iterdir()} == {
        file.name: file.read_bytes() for file in (folder / "ray").iterdir()
    }
    alone = local["seconds"] / (ray["seconds"] - ray["start"])
    return [name, f"{rows:,}", f"{local['seconds']:.1f}", f"{ray['seconds']:.1f}", f"{ray['start']:.1f}",
            f"{rows / local['seconds']:,.0f}", f"{rows / ray['seconds']:,.0f}",
            f"{local['seconds'] / ray['seconds']:.2f}", f"{alone:.2f}", "yes" if same else "NO"]  # fmt: skip


def run(engine: str, folder: Path) -> dict[str, float]:
    """Preprocess in a process of its own: its seconds, and those that the cluster took to start."""
    command = [sys.executable, "-m", "bench.bench_preprocess_ray", engine, str(folder)]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | one_thread
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def child(engine: str, folder: str) -> None:
    """Preprocess here, and print the seconds."""
    from flywheel.preprocessor.pipeline import run as pipeline
    from flywheel.project import ray_cluster
    from flywheel.project.params import task_from

    started = time.perf_counter()
    start = 0.0
    task = task_from(json.loads((Path(folder) / "task.json").read_text()), "")
    task = replace(task, preprocess=replace(task.preprocess, engine=engine))
    raw = Path(folder) / "raw"
    if engine == "ray":
        with ray_cluster.connected(None):
            start = time.perf_counter() - started
            pipeline.preprocess(task, raw, raw / "none", Path(folder) / engine)
    else:
        pipeline.preprocess(task, raw, raw / "none", Path(folder) / engine)
    print(json.dumps({"seconds": time.perf_counter() - started, "start": start}))


if __name__ == "__main__":
    child(*sys.argv[1:])

"""Requests a second, and milliseconds, of `flywheel serve` and of other ways to serve each default task's champion.

Pictures, texts, recordings, tables, and users' items; one request is one raw row in JSON, the example that the version
brings. The peers are `mlflow models serve` of the same version, and a FastAPI handler (pydantic in, JSON out) with the
task's own preprocessor over PyTorch and one over ONNX Runtime. One worker each, one thread for the model (MLflow's
takes what it finds), load from a second process on loopback, all servers of a task in one run, interleaved, medians of
repeats. Run: python -m bench serving_tasks
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import tempfile
from pathlib import Path

import psutil

from bench.bench_serving import CLIENTS, TITLES, measure, megabytes, serving, wait_for
from bench.record import FOLDER, Table
from flywheel.project.tracking import open_to_read
from flywheel.serving.version.champions import Champions
from flywheel.serving.version.served import EXAMPLE, ChampionVersion

TASKS = ("fashion", "tweets", "spoken_digits", "breast_cancer", "movielens")
SERVERS = {"mlflow": "mlflow", "task_torch": "torch", "task_onnx": "onnx", "flywheel": "flywheel"}
REPEATS, SECONDS, MAX_SECONDS, WARM_UP = 3, 1.0, 6.0, 0.3
Figures = dict[tuple[str, int], list[dict[str, float]]]
Job = tuple[str, bytes]


def prepare(champion: ChampionVersion, folder: Path) -> dict[str, Job]:
    """Lay out a version for all servers; give the head and the body of each one's request."""
    version = Path(champion.folder)
    held = json.loads((version / EXAMPLE).read_text())
    row = dict(zip(held["columns"], held["data"][0], strict=True))
    shutil.copytree(version, folder / "version")  # MLflow serves no folder behind a link
    (folder / "model").symlink_to(Path("artifacts").absolute() / champion.task / "model")
    for name in ("model.onnx", "preprocessor.json"):
        (folder / name).symlink_to(version / "artifacts" / name)
    (folder / "row.json").write_text(json.dumps(row))
    (folder / "task").write_text(champion.task)
    kind, body = "content-type: application/json", json.dumps(row).encode()
    inputs = json.dumps({"inputs": {name: [value] for name, value in row.items()}}).encode()
    return {
        "mlflow": (f"POST /invocations HTTP/1.1\r\n{kind}", inputs),
        "task_torch": (f"POST /predict HTTP/1.1\r\n{kind}", body),
        "task_onnx": (f"POST /predict HTTP/1.1\r\n{kind}", body),
        "flywheel": (f"POST /v1/tasks/{champion.task}/predict HTTP/1.1\r\n{kind}", body),
    }


def measure_task(champion: ChampionVersion) -> tuple[Figures, dict[str, float]]:
    """Measure all servers of a task side by side: figures by server and clients, and megabytes by server."""
    found: Figures = {}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        jobs = prepare(champion, folder)
        running: dict[str, tuple[int, psutil.Process]] = {
            name: stack.enter_context(serving(name, folder)) for name in jobs
        }
        for name, job in jobs.items():
            wait_for(running[name][0], *job)
        for _ in range(REPEATS):
            for clients in CLIENTS:
                for name, job in jobs.items():
                    port, process = running[name]
                    figures = measure(port, *job, clients, seconds_for(found, name, clients), process, WARM_UP)
                    found.setdefault((name, clients), []).append(figures)
        return found, {name: megabytes(process) for name, (_, process) in running.items()}


def seconds_for(found: Figures, name: str, clients: int) -> float:
    """How long to look: with many clients a slow server answers each only after all others."""
    alone = found.get((name, 1), [{"p50_ms": 0.0}])[0]["p50_ms"] / 1000
    return min(MAX_SECONDS, max(SECONDS, 3 * clients * alone))


def main() -> Table:
    """Measure and return the table."""
    columns = ["task", "server", "clients", "requests/s", "p50 ms", "p99 ms", "CPU us a request",
               "flywheel is faster, times", "MB of the worker"]  # fmt: skip
    table = Table("serving_tasks", "The champion of each task, one row a request, one worker", columns)
    loads = [os.getloadavg()[0]]
    for champion in Champions(open_to_read(), TASKS).first():
        found, memory = measure_task(champion)
        loads.append(os.getloadavg()[0])
        for clients in CLIENTS:
            for name, title in SERVERS.items():
                figures = found[name, clients]
                times = zip(found["flywheel", clients], figures, strict=True)
                ratio = statistics.median(own["per_second"] / other["per_second"] for own, other in times)
                keys = ("per_second", "p50_ms", "p99_ms", "cpu_us")
                second, p50, p99, cpu = (statistics.median(one[key] for one in figures) for key in keys)
                numbers = [f"{second:,.0f}", f"{p50:.1f}", f"{p99:.1f}", f"{cpu:.0f}", f"{ratio:.2f}"]
                table.add([champion.task, TITLES[title], clients, *numbers, f"{memory[name]:.0f}"])
    said = ", ".join(f"{load:.1f}" for load in loads)
    (FOLDER / "serving_tasks.md").write_text(
        f"The machine's load average (1 minute, {os.cpu_count()} cores) was {said}: before the first task and after\n"
        "each, the benchmark's own load included. Other work used the machine, too.\n"
    )
    return table

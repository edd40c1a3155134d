"""Requests a second, and milliseconds, of `flywheel serve` and of other ways to serve the same model.

784-64-64-10 with softmax; one request is one picture of 784 numbers in JSON. The peers are `mlflow models serve`, a
FastAPI handler over PyTorch and one over ONNX Runtime (lists through pydantic, as a person would write them); one
worker each, one thread for the model, load from a second process on loopback, all in one run, medians of interleaved
repeats. CPU is of all processes of a server, and less at the mercy of other work than requests a second are. The last
rows are ours with binary tensors of the Open Inference Protocol, which asks for `label` and `probability` only.
Run: python -m bench serving
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from bench.record import Table

CLIENTS, REPEATS, SECONDS, WARM_UP = (1, 16, 64), 3, 3.0, 1.0
PEERS = ("mlflow", "torch", "onnx")
TITLES = {
    "mlflow": "mlflow models serve", "torch": "FastAPI + PyTorch", "onnx": "FastAPI + ONNX Runtime",
    "flywheel": "flywheel serve", "binary": "flywheel serve, binary tensors",
}  # fmt: skip


def make(folder: Path) -> np.ndarray[Any, Any]:
    """Make the model in all forms, and a picture to ask about."""
    import torch
    from mlflow.models import Model

    from flywheel.modality.image.data.preprocessor import ImagePreprocessor
    from flywheel.model.network import build_network, load_network, save_network
    from flywheel.preprocessor.target import ClassTarget
    from flywheel.preprocessor.task import TaskPreprocessor
    from flywheel.registry.onnx_export import export_onnx
    from flywheel.registry.package import Contents, write_package

    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28), dtype=np.uint8)
    frame = pd.DataFrame({"image": list(images)})
    inputs, target = ImagePreprocessor(), ClassTarget()
    inputs.fit([frame])
    target.fit([pd.Series([str(n) for n in range(10)], dtype=object)])
    meta = {**inputs.meta(), **target.meta()}
    node = {"_target_": "flywheel.model.mlp.MLP", "num_features": "meta.num_features",
            "num_outputs": "meta.num_outputs", "hidden": [64, 64]}  # fmt: skip
    link = {"_target_": "torch.nn.Softmax", "dim": -1}
    (folder / "model").mkdir()
    save_network(
        folder / "model", build_network(node, meta), {"task": "digits", "net": node, "link": link, "meta": meta}
    )
    export_onnx(load_network(folder / "model"), folder / "model.onnx", opset=20)
    TaskPreprocessor(inputs, target).save(folder / "preprocessor.json")
    (folder / "meta.json").write_text(json.dumps(meta))
    (folder / "metrics.json").write_text("{}")
    evidence = {name: folder / name for name in ("meta.json", "metrics.json")}
    contents = Contents(folder / "model.onnx", folder / "preprocessor.json", frame.iloc[:1], evidence)
    write_package(folder / "version", contents, Model())
    return images[0]


def requests(image: np.ndarray[Any, Any]) -> dict[str, tuple[str, str, bytes]]:
    """For each row of the table: server, head and body of one request."""
    json_type = "content-type: application/json"
    rows, flat = image.tolist(), image.reshape(-1).tolist()
    plain = (f"POST /predict HTTP/1.1\r\n{json_type}", json.dumps({"pixels": flat}).encode())
    tensor = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "parameters": {"binary_data_size": 784}}
    head = json.dumps(
        {
            "inputs": [tensor],
            "outputs": [{"name": name} for name in ("label", "probability")],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    nested = json.dumps({"image": rows}).encode()
    invocation = json.dumps({"inputs": {"image": [rows]}}).encode()
    binary = f"POST /v2/models/digits/infer HTTP/1.1\r\ninference-header-content-length: {len(head)}"
    return {
        "mlflow": ("mlflow", f"POST /invocations HTTP/1.1\r\n{json_type}", invocation),
        "torch": ("torch", *plain),
        "onnx": ("onnx", *plain),
        "flywheel": ("flywheel", f"POST /v1/tasks/digits/predict HTTP/1.1\r\n{json_type}", nested),
        "binary": ("flywheel", binary, head + image.tobytes()),
    }  # fmt: skip


@contextlib.contextmanager
def serving(name: str, folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """Start a server on a free port, and end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "bench.serving_peers", name, str(folder), str(port)]
    if name == "mlflow":
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder / "version"), "-h", "127.0.0.1",
                   "-p", str(port), "--env-manager", "local", "--workers", "1"]  # fmt: skip
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # mlflow starts `uvicorn` by its name
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / f"{name}.log").open("w") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    try:
        yield port, psutil.Process(process.pid)
    finally:
        family = [process, *psutil.Process(process.pid).children(recursive=True)]
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.terminate()
        process.wait(60)


def measure(
    port: int,
    head: str,
    body: bytes,
    clients: int,
    seconds: float = SECONDS,
    process: psutil.Process | None = None,
    warm_up: float = WARM_UP,
) -> dict[str, float]:
    """Load a server from a second process; `cpu_us` is what a request costs all processes of the server."""
    job = {"port": port, "head": head, "body": body.hex(), "clients": clients, "seconds": seconds, "warm_up": warm_up}
    command = [sys.executable, "-m", "bench.serving_load"]
    before = _cpu_seconds(process)
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=True, timeout=120)
    found: dict[str, float] = json.loads(done.stdout)
    assert not found["failures"], found
    return {**found, "cpu_us": (_cpu_seconds(process) - before) / found["requests"] * 1e6}


def wait_for(port: int, head: str, body: bytes) -> None:
    """Wait until a server answers as it should."""
    end = time.monotonic() + 180
    while True:
        try:
            measure(port, head, body, 1, 0.3, warm_up=0.2)
            return
        except (subprocess.CalledProcessError, AssertionError):
            assert time.monotonic() < end
            time.sleep(1)


def main() -> Table:
    """Measure and return the table."""
    table = Table("serving", "Requests a second and milliseconds, one worker", ["server", "clients", "requests/s",
                  "p50 ms", "p99 ms", "CPU us a request", "flywheel is faster, times", "MB of the worker"])  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        jobs = requests(make(folder))
        running = {name: stack.enter_context(serving(name, folder)) for name in (*PEERS, "flywheel")}
        for server, head, body in jobs.values():
            wait_for(running[server][0], head, body)
        found: dict[tuple[str, int], list[dict[str, float]]] = {}
        for _ in range(REPEATS):
            for clients in CLIENTS:
                for name, (server, head, body) in jobs.items():
                    figures = measure(running[server][0], head, body, clients, process=running[server][1])
                    found.setdefault((name, clients), []).append(figures)
        memory = {name: megabytes(process) for name, (_, process) in running.items()}
    for clients in CLIENTS:
        ours = found["flywheel", clients]
        for name, (server, *_) in jobs.items():
            figures = found[name, clients]
            ratio = statistics.median(
                own["per_second"] / other["per_second"] for own, other in zip(ours, figures, strict=True)
            )
            keys = ("per_second", "p50_ms", "p99_ms", "cpu_us")
            second, p50, p99, cpu = (statistics.median(one[key] for one in figures) for key in keys)
            times = [f"{second:,.0f}", f"{p50:.1f}", f"{p99:.1f}", f"{cpu:.0f}"]
            table.add([TITLES[name], clients, *times, f"{ratio:.2f}", f"{memory[server]:.0f}"])
    return table


def _cpu_seconds(process: psutil.Process | None) -> float:
    family = [process, *process.children(recursive=True)] if process else []
    return sum(one.cpu_times().user + one.cpu_times().system for one in family)


def megabytes(process: psutil.Process) -> float:
    """Resident memory of the process that answers: the largest of a server's, but for our supervisor."""
    children = process.children(recursive=True)
    return max(one.memory_info().rss for one in children or [process]) / 1e6

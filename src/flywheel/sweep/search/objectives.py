"""What a trial is judged by besides its score: how large its network is, and how long one answer takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from flywheel.sweep.search.trial import Objective

_WARM_UP, _TIMED = 5, 41


def objectives_of(names: Sequence[str], monitor: str, mode: str) -> list[Objective]:
    """Give the objectives their names and directions: the score is the monitored metric, the others are made small."""
    return [Objective(monitor, mode) if name == "score" else Objective(name, "min") for name in names]


def measure(names: Sequence[str], score: float, model: Path, data: Path) -> list[float]:
    """Measure a trained network's objectives.

    Args:
        names: `score`, `latency_ms` (median of one row's forward pass, on one CPU thread), `num_bytes` (of
            `model.safetensors`), `num_parameters`.
        score: Value of the monitored metric.
        model: Folder of the model.
        data: Folder with the processed data; its first validation row is the one that is timed.
    """
    found = {"score": lambda: score, "num_bytes": lambda: float(_size(model)), "num_parameters": lambda: _count(model)}
    return [_latency_ms(model, data) if name == "latency_ms" else found[name]() for name in names]


def _size(model: Path) -> int:
    from flywheel.model.network import WEIGHTS

    return (model / WEIGHTS).stat().st_size


def _count(model: Path) -> float:
    from flywheel.model.network import load_network

    return float(load_network(model).description["num_parameters"])


def _latency_ms(model: Path, data: Path) -> float:
    import torch

    from flywheel.learner.data import open_part
    from flywheel.model.network import load_network

    network = load_network(model).network
    row = open_part(data / "validation.safetensors", network.input_names, stream=True).gather(torch.arange(1))
    del row["target"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            times = []
            for _ in range(_WARM_UP + _TIMED):
                started = time.perf_counter()
                network(**row)
                times.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(times[_WARM_UP:]) * 1000

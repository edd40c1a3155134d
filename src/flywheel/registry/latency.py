"""How long an exported model takes for one request, and for a batch: one thread, this machine."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from flywheel.project.digest import sha256_of
from flywheel.project.types import Json
from flywheel.registry.onnx_model import Array, OnnxModel

BATCHES = (1, 64)
_WARM_UP, _MAX_CALLS, _MAX_SECONDS = 3, 200, 2.0


def measure_latency(file: Path, inputs: Json) -> Json:
    """Time an exported model on inputs of zeros.

    Args:
        file: The ONNX file.
        inputs: The `inputs` of `meta.json`.

    Returns:
        The file's sha256, and for each batch size the 50th and 95th percentile in milliseconds.
    """
    model = OnnxModel(file, threads=1)
    found: Json = {"onnx_sha256": sha256_of(file)}
    for rows in BATCHES:
        zeros = {name: np.zeros((rows, *spec["shape"]), dtype=spec["dtype"]) for name, spec in inputs.items()}
        p50, p95 = np.percentile(_times_ms(model, zeros), [50, 95])
        found[f"batch_{rows}"] = {"p50_ms": round(float(p50), 3), "p95_ms": round(float(p95), 3)}
    return found


def _times_ms(model: OnnxModel, inputs: dict[str, Array]) -> list[float]:
    for _ in range(_WARM_UP):
        model.scores(inputs)
    times: list[float] = []
    end = time.perf_counter() + _MAX_SECONDS
    while len(times) < _MAX_CALLS and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        model.scores(inputs)
        times.append((time.perf_counter() - start) * 1000)
    return times

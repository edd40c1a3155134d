from __future__ import annotations

import json
from typing import Any

from flywheel.project.digest import sha256_of
from flywheel.registry.latency import measure_latency


def test_latency_of_one_row_and_of_a_batch(digits: Any) -> None:
    file = digits.folder / "good/export/fp32.onnx"
    inputs = json.loads((digits.folder / digits.processed / "meta.json").read_text())["inputs"]
    found = measure_latency(file, inputs)
    assert found["onnx_sha256"] == sha256_of(file)
    for batch in ("batch_1", "batch_64"):
        assert 0 < found[batch]["p50_ms"] <= found[batch]["p95_ms"]

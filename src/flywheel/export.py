"""The export stage: a trained network becomes one ONNX file, proved equal to it on the whole test set."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from flywheel.config import TaskConfig
from flywheel.errors import ModelError
from flywheel.stage import run_stage, whole_file, whole_folder
from flywheel.types import Json

log = logging.getLogger("flywheel")

VARIANT = "fp32"


def export(task: TaskConfig) -> None:
    """Write `artifacts/<task>/export/` and `latency.json` beside it.

    Raises:
        ModelError: The network cannot be exported, or the export differs from it by more than `export.max_difference`.
    """
    from safetensors.numpy import save_file

    from flywheel.instantiate import build
    from flywheel.model.network import load_network
    from flywheel.registry.latency import measure_latency
    from flywheel.registry.onnx_export import export_onnx
    from flywheel.registry.onnx_model import OnnxModel
    from flywheel.registry.parity import Parity, compare
    from flywheel.report.bootstrap import Bootstrap

    def score(parity: Parity) -> dict[str, float | None]:
        report = build(task.metric.report, where="metric.report", meta=loaded.meta)
        without_intervals = Bootstrap(len(parity.target), 0, 0)
        measured = report.measure(parity.target, parity.scores, without_intervals)
        return {name: metric.value for name, metric in measured.metrics.items() if name == report.headline}

    artifacts = Path("artifacts") / task.name
    loaded = load_network(artifacts / "model")
    with whole_folder(artifacts / "export") as folder:
        file = folder / f"{VARIANT}.onnx"
        export_onnx(loaded, file, opset=task.export.opset)
        parity = compare(loaded, OnnxModel(file), Path("data/processed") / task.name / "test.safetensors")
        if not parity.max_difference <= task.export.max_difference:
            raise ModelError(
                f"ONNX differs from PyTorch by {parity.max_difference:.1e}, more than {task.export.max_difference:.1e}",
                where=f"{task.name}: export.max_difference",
                mend="find the operation that differs, or allow it in conf/",
            )
        found: Json = {
            "model_sha256": loaded.model_sha256,
            VARIANT: {
                "num_bytes": file.stat().st_size,
                "max_difference": parity.bound,
                "agreement": parity.agreement,
                **score(parity),
            },
        }
        (folder / "parity.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        save_file({"scores": parity.scores, "row": parity.row}, folder / "scores.safetensors")
    latency = measure_latency(artifacts / "export" / f"{VARIANT}.onnx", loaded.meta["inputs"])
    with whole_file(artifacts / "latency.json") as part:
        part.write_text(json.dumps({VARIANT: latency}, indent=1, sort_keys=True) + "\n")
    log.info(
        "export: %s of ONNX, equal to PyTorch within %.0e on %d test rows (%.2f%% the same answer), %.2f ms a request",
        _size(found[VARIANT]["num_bytes"]),
        parity.bound,
        len(parity.target),
        100 * parity.agreement,
        latency["batch_1"]["p50_ms"],
    )


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.0f} kB"


if __name__ == "__main__":
    sys.exit(run_stage("export", export))

"""The export stage: a trained network becomes one ONNX file, proved equal to it on the whole test set, and variants."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.project.config import TaskConfig
from flywheel.project.errors import ModelError
from flywheel.project.stage import run_stage
from flywheel.project.types import Json
from flywheel.project.whole import whole_file, whole_folder

if TYPE_CHECKING:
    from flywheel.registry.parity import Parity

log = logging.getLogger("flywheel")

VARIANT = "fp32"


def export(task: TaskConfig) -> None:
    """Write `artifacts/<task>/export/`, and beside it `latency.json` and, where there are variants, `variants.png`.

    Raises:
        ConfigError: The settings of variants are invalid.
        ModelError: The network cannot be exported, the export differs from it by more than `export.max_difference`, or
            a required variant is refused.
    """
    from safetensors.numpy import save_file

    from flywheel.model.network import load_network
    from flywheel.project.instantiate import build
    from flywheel.project.kind import REPORT
    from flywheel.registry.onnx_export import export_onnx
    from flywheel.registry.onnx_model import OnnxModel
    from flywheel.registry.parity import compare
    from flywheel.registry.variant.choice import check
    from flywheel.report.bootstrap import Bootstrap

    check(task.export)

    def score(parity: Parity) -> dict[str, float | None]:
        report = build(task.metric.report, REPORT, where="metric.report", meta=loaded.meta)
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
                fix="find the operation that differs, or allow it in conf/",
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
        save_file({"scores": parity.scores, "row": parity.row}, folder / "scores.safetensors")
        if task.export.variants:
            _add_variants(task, loaded.meta, parity, found, folder)
        (folder / "parity.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    latency = _time(artifacts, loaded.meta["inputs"], found)
    log.info(
        "export: %s of ONNX, equal to PyTorch within %.0e on %d test rows (%.2f%% the same answer), %.2f ms a request",
        _size(found[VARIANT]["num_bytes"]),
        parity.bound,
        len(parity.target),
        100 * parity.agreement,
        latency[VARIANT]["batch_1"]["p50_ms"],
    )
    if task.export.variants:
        _show(task, found, latency, artifacts / "variants.png")


def _add_variants(task: TaskConfig, meta: Json, parity: Parity, found: Json, folder: Path) -> None:
    """Make, measure and judge the variants beside `fp32.onnx`; what was found goes into `found`."""
    from safetensors.numpy import save_file

    from flywheel.project.instantiate import build
    from flywheel.project.kind import REPORT
    from flywheel.registry.variant.base import Material
    from flywheel.registry.variant.choice import scores_file
    from flywheel.registry.variant.judge import Exam, fp32_entry, make_variants
    from flywheel.report.examples import read_groups

    processed, file = Path("data/processed") / task.name, folder / f"{VARIANT}.onnx"
    report = build(task.metric.report, REPORT, where="metric.report", meta=meta)
    test = processed / "test.safetensors"
    exam = Exam(report, test, parity.target, parity.scores, file.stat().st_size, read_groups(test))
    material = Material(file, meta["inputs"], processed / "train.safetensors", parity.row)
    entries, passed = make_variants(task.export, material, exam, folder)
    found[VARIANT] |= fp32_entry(exam, file)
    found |= {"metric": report.headline, "variants": entries}
    for name, scores in passed.items():
        save_file({"scores": scores, "row": parity.row}, folder / scores_file(name))


def _time(artifacts: Path, inputs: Json, found: Json) -> Json:
    """Time fp32 and every variant that was measured, and write `latency.json`: times are not an output of the stage."""
    from flywheel.registry.latency import measure_latency

    variants = found.get("variants", {})
    names = [VARIANT, *(name for name, entry in variants.items() if found["metric"] in entry)]
    latency = {name: measure_latency(artifacts / "export" / f"{name}.onnx", inputs) for name in names}
    with whole_file(artifacts / "latency.json") as part:
        part.write_text(json.dumps(latency, indent=1, sort_keys=True) + "\n")
    return latency


def _show(task: TaskConfig, found: Json, latency: Json, picture: Path) -> None:
    from flywheel.registry.variant import show

    for line in show.lines(found, latency):
        log.info("export: %s", line)
    with whole_file(picture) as part:
        show.draw(found, latency, task.name, part)
    log.info("export: see %s", picture)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.0f} kB"


if __name__ == "__main__":
    sys.exit(run_stage("export", export))

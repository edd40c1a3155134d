"""Smaller forms of the default tasks' models beside fp32: score on the whole test set, bytes, time, and the verdict.

Each is made by the export stage with `export: compressed`, from the models that `make repro` has built, in a folder of
its own. Differences are paired, with their 95% interval; a variant passes if the whole interval is above -0.005 (or the
task's own limit) and the file is as many times smaller as its settings want (int8: 3, 16 bits: 1.5). Fashion has
the student of docs/compression.md too, in fp32 and in eight bits (`export: student`, which may lose 0.01): that of
`artifacts/` where `fashion_student` is built, else it is trained first, which takes minutes.
Run: python -m bench compression (after `make repro`), or compression:fashion for one task.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

from bench.record import Table
from flywheel.project.config import TaskConfig

ROOT = Path(__file__).parent.parent
TASKS = ("fashion", "tweets", "spoken_digits", "breast_cancer", "movielens")
COLUMNS = [
    "task",
    "form",
    "score",
    "difference to fp32",
    "bytes",
    "times smaller",
    "ms a request",
    "ms for 64",
    "verdict",
]


def main(only: str | None = None) -> Table:
    """Measure and return the table; for one task only, the other rows are those of the kept table."""
    table = Table("compression", "Score, bytes and time of each form", COLUMNS)
    for task in TASKS:
        if only and task != only:
            table.keep(task)
            continue
        parity, latency = exported(task, "compressed")
        for name in ("fp32", *parity["variants"]):
            table.add(row(task, name, parity, latency))
        if task == "fashion":
            with tempfile.TemporaryDirectory() as temporary:
                student = student_of("fashion", "fashion_student", Path(temporary))
                parity, latency = exported(task, "student", f"++tasks.{task}.export.student={student}")
            for name in ("student", "student_int8"):
                table.add(row(task, name, parity, latency))
    return table


def exported(name: str, choice: str, *overrides: str) -> tuple[Any, Any]:
    """Export a task with a choice of `conf/export/`, beside the project; give `parity.json` and `latency.json`."""
    from flywheel.export import export

    task = composed(name, f"export@tasks.{name}.export={choice}", *overrides)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part in (f"data/processed/{name}", f"artifacts/{name}/model"):
            (folder / part).parent.mkdir(parents=True)
            (folder / part).symlink_to(ROOT / part)
        with contextlib.chdir(folder):
            export(task)
        artifacts = folder / "artifacts" / name
        return tuple(json.loads((artifacts / file).read_text()) for file in ("export/parity.json", "latency.json"))


def student_of(teacher: str, name: str, folder: Path) -> Path:
    """Export a student, in a folder, and give its export; it is trained first where `artifacts/` has none."""
    from flywheel.export import export
    from flywheel.learner.fit import fit

    task = composed(name, f"+task@tasks.{name}={name}")
    processed = folder / "data/processed" / name
    model = folder / "artifacts" / name / "model"
    for place in (processed, model):
        place.parent.mkdir(parents=True)
    processed.symlink_to(ROOT / "data/processed" / teacher)
    if (built := ROOT / "artifacts" / name / "model").is_dir():
        model.symlink_to(built)
    else:
        model.mkdir()
        meta = json.loads((processed / "meta.json").read_text())
        fit(task, processed, meta, model, folder / "last.ckpt", on_start=lambda _: None, on_row=lambda _: None)
    with contextlib.chdir(folder):
        export(task)
    return model.parent / "export"


def composed(name: str, *overrides: str) -> TaskConfig:
    """A task's settings, with overrides of `conf/config.yaml`."""
    from flywheel.project.compose import compose_params
    from flywheel.project.params import task_from

    return task_from(yaml.safe_load(compose_params(ROOT, overrides))["tasks"][name], f"tasks.{name}")


def row(task: str, name: str, parity: Any, latency: Any) -> list[str]:
    """One line of the table."""
    entry = parity["fp32"] if name == "fp32" else parity["variants"][name]
    score, low_high = entry.get(parity["metric"]), entry.get("difference_interval")
    size, times = entry.get("num_bytes"), latency.get(name)
    return [
        task,
        name,
        "" if score is None else f"{parity['metric']} {score:.4f}",
        "" if low_high is None else f"{entry['difference']:+.4f} ({low_high[0]:+.4f} to {low_high[1]:+.4f})",
        "" if size is None else f"{size:,}",
        "" if size is None else f"{parity['fp32']['num_bytes'] / size:.2f}",
        *("" if times is None else f"{times[f'batch_{rows}']['p50_ms']:.3f}" for rows in (1, 64)),
        "" if name == "fp32" else "passed" if entry["passed"] else entry["why"].removesuffix("."),
    ]

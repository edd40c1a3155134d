"""Smaller forms of the default tasks' models beside fp32: score on the whole test set, bytes, time, and the verdict.

Each is made by the export stage with `export: compressed`, from the models that `make repro` has built, in a folder of
its own. Differences are paired, with their 95% interval; a variant passes if the whole interval is above -0.005 (or the
task's own limit) and the file is as many times smaller as its settings want (int8: 3, 16 bits: 1.5).
Run: python -m bench compression (after `make repro`)
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml

from bench.record import Table

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


def main() -> Table:
    """Measure and return the table."""
    table = Table("compression", "Score, bytes and time of each form", COLUMNS)
    for task in TASKS:
        parity, latency = exported(task)
        for name in ("fp32", *parity["variants"]):
            table.add(row(task, name, parity, latency))
    return table


def exported(name: str) -> tuple[Any, Any]:
    """Export a task with all variants, beside the real project, and give `parity.json` and `latency.json`."""
    from flywheel.compose import compose_params
    from flywheel.export import export
    from flywheel.params import task_from

    composed = yaml.safe_load(compose_params(ROOT, [f"export@tasks.{name}.export=compressed"], check=False))
    task = task_from(composed["tasks"][name], f"tasks.{name}")
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part in (f"data/processed/{name}", f"artifacts/{name}/model"):
            (folder / part).parent.mkdir(parents=True)
            (folder / part).symlink_to(ROOT / part)
        os.chdir(folder)
        try:
            export(task)
        finally:
            os.chdir(before)
        artifacts = folder / "artifacts" / name
        return tuple(json.loads((artifacts / file).read_text()) for file in ("export/parity.json", "latency.json"))


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

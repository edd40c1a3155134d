"""Every reference system and every task with a goal, three seeds each, on the test set, beside baselines.

Each training is a process of its own through the Hydra application, as a user would start it; the test set is scored
once, afterwards, by the task's own report, and so are the report's baselines (they know no seed, so with the first one
only). Tasks that have bench/results/reference_<task>.json are kept as they are.
Run: python -m bench reference (hours: all that is not measured yet), or python -m bench.bench_reference TASK ... (these
tasks, anew), or python -m bench.bench_reference TASK:1,2 (these seeds, beside those kept). Written after each seed, and
to docs/reference-systems.md.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import reference_systems as systems
from bench.record import Table

if TYPE_CHECKING:
    from flywheel.report.bootstrap import Metric

SEEDS = (0, 1, 2)
ROOT = Path(__file__).parent.parent


class TrainingError(Exception):
    """A training did not end well; says how."""


def main() -> Table:
    """Measure what was not measured yet, and return the table."""
    for task in systems.tasks():
        if systems.load(task) is None and (ROOT / f"conf/task/{task}.yaml").is_file():
            try:
                measure(task)
            except TrainingError as error:  # data out of reach, for one: the others can still be measured
                print("  ", error, file=sys.stderr, flush=True)
    systems.write_page()
    table = Table("reference", "Reference systems, seeds 0, 1, 2", systems.COLUMNS)
    for row in systems.rows():
        table.add(row)
    return table


def measure(task: str, seeds: Sequence[int] = SEEDS) -> None:
    """Train a task with every seed, score it on its test set, and write bench/results/reference_<task>.json.

    Args:
        task: `conf/task/<task>.yaml`.
        seeds: All: what was kept is measured anew. Some: the others' kept runs stay.
    """
    import torch

    kept = (systems.load(task) or {}) if set(seeds) != set(SEEDS) else {}
    runs = {run["seed"]: run for run in kept.get("runs", [])}
    shared: dict[str, Any] = {key: kept[key] for key in ("metric", "baselines") if key in kept}
    for seed in seeds:
        runs[seed], of_all = one_run(task, seed, with_baseline="baselines" not in shared)
        shared = {**of_all, **shared}
        print("  ", task, "seed", seed, json.dumps(runs[seed]["metrics"]), f"{runs[seed]['seconds']} s", flush=True)
        versions = {"python": platform.python_version(), "torch": torch.__version__}
        systems.save({"task": task, **shared, "runs": [runs[key] for key in sorted(runs)], **versions})


def one_run(task: str, seed: int, *, with_baseline: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train once and score.

    Returns:
        What is of this run, and what is of the task: the metric to show and, where asked for, its baselines.
    """
    words = [f"task={task}", f"seed={seed}"]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "flywheel.train", *words], capture_output=True, text=True, check=False, cwd=ROOT
    )
    seconds = round(time.perf_counter() - started)
    folder = re.search(r"model in (.+)$", done.stderr, re.MULTILINE)
    if done.returncode or folder is None:
        raise TrainingError(f"{task}, seed {seed}: {done.stderr[-2000:]}")
    found, of_all = score(words, Path(folder[1]), with_baseline=with_baseline)
    return {"seed": seed, "seconds": seconds, **learning_of(Path(folder[1])), **found}, of_all


def learning_of(model: Path) -> dict[str, Any]:
    """How the training loss went, from history.csv."""
    from flywheel.report.learning import read_history

    losses = read_history(model / "history.csv")["train/loss"].tolist()
    rises = sum(after >= before for before, after in pairwise(losses))
    return {"num_epochs": len(losses), "first_loss": losses[0], "last_loss": losses[-1], "num_rises": rises}


def score(words: list[str], model: Path, *, with_baseline: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Score a model folder, and where asked the report's baselines, on its task's test set, as evaluate does."""
    from dataclasses import replace

    from flywheel.evaluate import predict
    from flywheel.model.network import load_network
    from flywheel.prepare import processed_for
    from flywheel.preprocessor.task import load_preprocessor
    from flywheel.project.compose import compose_task
    from flywheel.project.instantiate import build
    from flywheel.project.kind import REPORT
    from flywheel.project.params import task_from
    from flywheel.report.evidence import gather
    from flywheel.report.examples import Examples

    settings = task_from(compose_task(ROOT, words), "")
    data = processed_for(settings)
    meta = json.loads((data / "meta.json").read_text())
    report = build(settings.metric.report, REPORT, where="metric.report", meta=meta)
    names = [name for name, num_rows in meta["num_rows"].items() if num_rows]
    splits = {name: Examples(data / f"{name}.safetensors", meta["inputs"]) for name in names}
    network = load_network(model)
    scores = predict(network, splits["test"], model)
    plain = replace(settings.evaluate, num_bootstrap=0)
    chosen = plain if with_baseline else replace(plain, baselines={})
    evidence = gather(chosen, report, meta, splits, scores, load_preprocessor(data / "preprocessor.json").inputs)
    published = settings.evaluate.published
    of_all: dict[str, Any] = {"metric": published.metric if published else report.headline}
    if with_baseline:
        of_all["baselines"] = {
            one.name: {"title": one.title, "metrics": rounded(one.measured.metrics)} for one in evidence.baselines
        }
    of_run = {
        "metrics": rounded(evidence.model.measured.metrics),
        "num_rows": meta["num_rows"],
        "num_parameters": network.description["num_parameters"],
        "model_sha256": network.model_sha256,
    }
    return of_run, of_all


def rounded(metrics: Mapping[str, Metric]) -> dict[str, float | None]:
    """Their values, to six places."""
    return {name: None if metric.value is None else round(metric.value, 6) for name, metric in metrics.items()}


if __name__ == "__main__":
    for name, _, some in (word.partition(":") for word in sys.argv[1:]):
        measure(name, [int(seed) for seed in some.split(",")] if some else SEEDS)
        systems.write_page()

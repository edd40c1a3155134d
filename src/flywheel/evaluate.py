"""The evaluate stage: measures a task's model on the test set, beside its baselines, and writes the report.

    python -m flywheel.evaluate --task NAME

Reads `artifacts/<task>/model/`, `data/processed/<task>/`, and of `data/raw/<task>/` the texts of examples; writes to
`artifacts/<task>/` `metrics.json` (what DVC compares), `evaluation.json` (the same with intervals, baselines and the
model's hash) and `report/`; then adds them to the MLflow run that trained the model.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.project.config import TaskConfig
from flywheel.project.database import first_line, masked
from flywheel.project.errors import FlywheelError, ModelError
from flywheel.project.stage import run_stage
from flywheel.project.whole import read_json, whole_file, whole_folder

if TYPE_CHECKING:
    import pandas as pd

    from flywheel.model.network import LoadedNetwork
    from flywheel.project.types import Json
    from flywheel.report.base import Evidence, Report
    from flywheel.report.bootstrap import Array
    from flywheel.report.examples import Examples

log = logging.getLogger("flywheel")

BATCH_ROWS = 512


def evaluate(task: TaskConfig) -> None:
    """Measure, write, and only then log: a store that cannot be reached leaves whole results behind.

    Raises:
        FlywheelError: The model or the data are missing or do not fit each other, or MLflow refused the results.
    """
    from flywheel.model.network import load_network
    from flywheel.project.instantiate import build
    from flywheel.project.kind import REPORT
    from flywheel.report.folder import headline_of, metrics_of, write_folder
    from flywheel.report.learning import read_history

    data, artifacts = Path("data/processed") / task.name, Path("artifacts") / task.name
    network = load_network(artifacts / "model")
    history = read_history(artifacts / "model" / "history.csv")
    meta = read_json(data / "meta.json")
    _check_fit(network, meta, artifacts / "model")
    report: Report = build(task.metric.report, REPORT, where="metric.report", meta=meta)
    evidence = _evidence(task, report, network, data, meta)
    metrics = metrics_of(report, evidence, network.model_sha256)
    with whole_folder(artifacts / "report") as folder:
        write_folder(task, report, evidence, network, history, folder)
    for name, content in (("evaluation.json", metrics), ("metrics.json", headline_of(report, metrics))):
        with whole_file(artifacts / name) as file:
            file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    log.info("%s: %s", task.name, report.verdict(evidence).sentence)
    log.info("see %s", artifacts / "report" / "report.html")
    _log_to_mlflow(task.name, network.model_sha256, metrics, artifacts / "report")


def predict(network: LoadedNetwork, test: Examples, folder: Path) -> Array:
    """Answer every test row, in batches.

    Args:
        network: The network, in eval mode.
        test: The test rows.
        folder: The model's folder, named in messages.

    Raises:
        ModelError: An answer is not a number.
    """
    import numpy as np

    scores = np.concatenate([network.predict(batch).numpy() for batch in test.batches(BATCH_ROWS)])
    bad = ~np.isfinite(scores).reshape(len(scores), -1).all(axis=1)
    if bad.any():
        row = int(test.rows[int(bad.argmax())])
        why = f"answers {int(bad.sum()):,} of {len(bad):,} test rows with NaN or infinity, row {row} first"
        raise ModelError(why, where=folder, fix="train again with a smaller learning rate or gradient clipping")
    return scores


def main(arguments: list[str] | None = None) -> int:
    """Run the stage as DVC calls it."""
    return run_stage("evaluate", evaluate, arguments)


def _check_fit(network: LoadedNetwork, meta: Json, folder: Path) -> None:
    """A model of other inputs or classes would be measured against nonsense."""
    for key in ("inputs", "target", "classes", "items"):
        if network.meta.get(key) != meta.get(key):
            why = f"was trained on data with other {key}"
            raise ModelError(why, where=folder, fix="run `dvc repro` to train again")


def _evidence(task: TaskConfig, report: Report, network: LoadedNetwork, data: Path, meta: Json) -> Evidence:
    from flywheel.preprocessor.task import load_preprocessor
    from flywheel.project.instantiate import build
    from flywheel.project.kind import READER
    from flywheel.report.evidence import gather
    from flywheel.report.examples import Examples, raw_rows

    preprocessor = load_preprocessor(data / "preprocessor.json").inputs
    names = [name for name, num_rows in meta["num_rows"].items() if num_rows or name != "validation"]
    splits = {name: Examples(data / f"{name}.safetensors", meta["inputs"]) for name in names}
    scores = predict(network, splits["test"], Path("artifacts") / task.name / "model")

    def raw(rows: Array) -> pd.DataFrame:
        reader = build(task.data.reader.read, READER, where="data.reader.read")
        return raw_rows(reader.read(Path("data/raw") / task.name), rows)

    return gather(task.evaluate, report, meta, splits, scores, preprocessor, raw)


def _log_to_mlflow(task: str, model_sha256: str, metrics: Json, folder: Path) -> None:
    """Add the metrics, the pictures and the page to the run that trained these weights."""
    from flywheel.project import tracking
    from flywheel.project.tracked_run import TrackedRun

    client = tracking.prepare()
    from mlflow.exceptions import MlflowException

    values = {f"test/{key}": value for key, value in metrics.items() if isinstance(value, int | float)}
    for name, baseline in metrics["baseline"].items():
        values |= {f"test/{name}/{key}": value for key, value in baseline.items() if value is not None}
    try:
        with tracking.open_run(task, model_sha256, client) as run_id:
            TrackedRun(client, run_id).log_metrics(values)
            for file in sorted([*folder.glob("*.png"), *folder.glob("*.html")]):
                client.log_artifact(run_id, str(file), "report")
    except (MlflowException, OSError) as error:
        fix = f"they are whole in {folder.parent}; fix the store and run `dvc repro` again"
        what = f"MLflow did not take the results: {first_line(error)}"
        raise FlywheelError(what, where=masked(tracking.tracking_uri()), fix=fix) from None


if __name__ == "__main__":
    sys.exit(main())

"""One run of MLflow that is being written."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.project.database import interrupts_held
from flywheel.project.flatten import as_text, flatten

if TYPE_CHECKING:
    from mlflow import MlflowClient

_BATCH = 100  # parameters per request: the REST API's limit


class TrackedRun:
    """One run that is being written: parameters once, metrics once an epoch, tags, files, an end.

    Ctrl+C waits until what is being written is in the store.

    Args:
        client: The client of the store.
        run_id: Id of an existing run.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client = client
        self.run_id = run_id

    @interrupts_held()
    def logged_epochs(self) -> set[int]:
        """The epochs whose validation loss is in the store."""
        return {metric.step for metric in self.client.get_metric_history(self.run_id, "validation/loss")}

    @interrupts_held()
    def log_settings(self, settings: Mapping[str, Any]) -> None:
        """Log nested settings as parameters with dotted names."""
        from mlflow.entities import Param

        flat = [Param(key, as_text(value)) for key, value in flatten(settings).items()]
        for start in range(0, len(flat), _BATCH):
            self.client.log_batch(self.run_id, params=flat[start : start + _BATCH])

    @interrupts_held()
    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log many metrics in one request (a request costs as much for one as for many)."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(k, float(v), now, step) for k, v in metrics.items()])

    @interrupts_held()
    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set many tags in one request."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])

    @interrupts_held()
    def log_text(self, text: str, name: str) -> None:
        """Store a text as a file of the run."""
        self.client.log_text(self.run_id, text, name)

    @interrupts_held()
    def log_files(self, folder: Path, name: str) -> None:
        """Store a folder's files under `name` in the run."""
        self.client.log_artifacts(self.run_id, str(folder), name)

    @interrupts_held()
    def log_files_named(self, folder: Path, names: tuple[str, ...]) -> None:
        """Store those of a folder's files that exist, at the top of the run."""
        for name in names:
            if (folder / name).is_file():
                self.client.log_artifact(self.run_id, str(folder / name))

    @interrupts_held()
    def log_data(self, name: str, digest: str, source: Mapping[str, Any], context: str) -> None:
        """Record a data set as an input of the run, with its hash and where it came from."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=name, digest=digest[:36], source_type="code", source=json.dumps({"tags": dict(source)}, sort_keys=True)
        )
        tags = [InputTag("mlflow.data.context", context)]
        self.client.log_inputs(self.run_id, [DatasetInput(dataset=dataset, tags=tags)])

    @contextlib.contextmanager
    def watched_machine(self) -> Iterator[None]:
        """Log CPU, memory, disk, network and GPU every 10 s, unless MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false."""
        if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true").lower() in ("false", "0"):
            yield
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        # It tells a user's terminal that it starts, stops, and finds no GPU.
        logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
        watch: Any = SystemMetricsMonitor  # MLflow leaves it without types
        monitor = watch(self.run_id, resume_logging=True, tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()

    @interrupts_held()
    def end(self, status: str = "FINISHED") -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        self.client.set_terminated(self.run_id, status=status)

"""A task's experiment in MLflow: made once, shown by MLflow's pages as model training, with the columns that matter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT = "0"
"""The id of the experiment that MLflow makes by itself."""
VIEW = "flywheel"
COLUMNS = ("attributes.`Duration`", "metrics.`best/epoch`", "metrics.`validation/loss`", "metrics.`test/accuracy`",
           "metrics.`test/ndcg_10`", "metrics.`test/rmse`", "params.`model.name`", "params.`optimizer.lr`",
           "tags.`flywheel.version`", "tags.`flywheel.promoted`")  # fmt: skip
"""Of the table of runs. MLflow shows its own; ours are a view that a link can name."""
TAGS = {
    # Without it MLflow's pages guess, and show an experiment without runs as one of generative traces.
    "mlflow.experimentKind": "custom_model_development",
    f"mlflow.sharedViewState.{VIEW}": json.dumps({"selectedColumns": list(COLUMNS)}),
}


def find_or_make(client: MlflowClient, task: str, root: str | None, lock: Path) -> str:
    """Give the id of a task's experiment, made with an explicit place for its files where it is missing.

    Args:
        client: The client of the store.
        task: Name of the experiment.
        root: Folder of the runs' files; None: a tracking server decides.
        lock: A file that holds off other processes of this machine.
    """
    from filelock import FileLock

    found = client.get_experiment_by_name(task)
    if found is None:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            found = client.get_experiment_by_name(task)
            if found is None:
                return _make(client, task, root)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def mark(client: MlflowClient) -> None:
    """Give the tags to experiments that were made without them."""
    for experiment in client.search_experiments():
        if experiment.experiment_id != DEFAULT:
            for name, value in TAGS.items():
                if experiment.tags.get(name) != value:
                    client.set_experiment_tag(experiment.experiment_id, name, value)


def address(port: int, experiment_id: str | None = None) -> str:
    """The page of an experiment's runs, or of all experiments, as model training and not as generative traces."""
    page = "experiments" if experiment_id is None else f"experiments/{experiment_id}/runs"
    view = "" if experiment_id is None else f"&viewStateShareKey={VIEW}"
    return f"http://127.0.0.1:{port}/#/{page}?workflowType=machine_learning{view}"


def _make(client: MlflowClient, task: str, root: str | None) -> str:
    from mlflow.exceptions import MlflowException

    try:
        made = str(client.create_experiment(task, artifact_location=root and f"{root}/{task}", tags=TAGS))
    except MlflowException:  # another machine made it on the same server just now
        found = client.get_experiment_by_name(task)
        if found is None:
            raise
        return str(found.experiment_id)
    if root is not None:
        _remove_empty_default(client)
    return made


def _remove_empty_default(client: MlflowClient) -> None:
    """A database of our own has no use for MLflow's `Default`; one that somebody has used stays."""
    from mlflow.entities import ViewType

    found = client.get_experiment_by_name("Default")
    is_active = found is not None and found.experiment_id == DEFAULT and found.lifecycle_stage == "active"
    if is_active and not client.search_runs([DEFAULT], run_view_type=ViewType.ALL, max_results=1):
        client.delete_experiment(DEFAULT)

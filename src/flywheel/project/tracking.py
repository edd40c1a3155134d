"""MLflow as Flywheel uses it: where the store is, one run a training, found again by the model's sha256.

Everything goes through `MlflowClient`: no global state, no autolog. A fresh database is made once, under a lock,
because processes that open one at the same time break its schema migration.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from flywheel.project import experiment
from flywheel.project.database import (
    first_line,
    is_database,
    masked,
    one_at_a_time,
    sqlite_file,
    sqlite_url,
    with_driver,
)
from flywheel.project.errors import ConfigError, StoreError
from flywheel.project.params import home_root, state_dir
from flywheel.project.tracked_run import TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MODEL_TAG = "model_sha256"
RESUME_TAG = "flywheel.resume_key"
_REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "PERMISSION_DENIED")


def tracking_uri() -> str:
    """Where runs go: `MLFLOW_TRACKING_URI`, or `mlflow.db` in the main checkout (absolute: tools change folders)."""
    return with_driver(os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url(home_root() / "mlflow.db"))


def registry_uri() -> str:
    """Where registered models are: `MLFLOW_REGISTRY_URI`, or where runs are."""
    return with_driver(os.environ.get("MLFLOW_REGISTRY_URI") or tracking_uri())


def artifact_root() -> str | None:
    """Where files of runs go; None where a tracking server decides.

    That is `MLFLOW_DEFAULT_ARTIFACT_ROOT`, as for MLflow's server, or `mlartifacts/` beside a sqlite store; with a
    database on a server, `mlartifacts/` in the main checkout.
    """
    uri, given = tracking_uri(), os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT", "")
    if not is_database(uri):
        return None
    if "://" in given:
        return given.rstrip("/")
    file = sqlite_file(uri)
    beside = file.parent if file else home_root()
    return (home_root() / given if given else beside / "mlartifacts").resolve().as_uri()


def set_environment() -> None:
    """Set what MLflow reads from the environment; done before it is imported, and for programs started from here."""
    os.environ["MLFLOW_TRACKING_URI"] = tracking_uri()
    if os.environ.get("MLFLOW_REGISTRY_URI"):
        os.environ["MLFLOW_REGISTRY_URI"] = registry_uri()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    for name in ("alembic", "mlflow.utils.environment"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Whatever it logs, with a traceback, it raises as well, and then it is told in one line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def store_errors() -> tuple[type[Exception], ...]:
    """What MLflow raises when its store cannot be read or written."""
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, CommandError)


@contextlib.contextmanager
def store_must_work() -> Iterator[None]:
    """Turn a store that fails in the middle of the work (a full disk, a server gone) into one line.

    Raises:
        StoreError: Instead of MLflow's own error.
        ConfigError: The store answers, and refuses what was sent.
    """
    try:
        yield
    except store_errors() as error:
        where, why = masked(tracking_uri()), first_line(error)
        if getattr(error, "error_code", "") in _REFUSALS:
            fix = "fix the name or the value that it quotes"
            raise ConfigError(f"MLflow refuses what it is to keep: {why}", where=where, fix=fix) from error
        fix = "free some space, or check MLFLOW_TRACKING_URI and what it names"
        raise StoreError(f"MLflow's store cannot be used: {why}", where=where, fix=fix) from error


def prepare() -> MlflowClient:
    """Open the store, making it first where there is none.

    Raises:
        StoreError: The store cannot be reached or opened.
    """
    set_environment()
    from mlflow import MlflowClient

    uri = tracking_uri()
    errors: tuple[type[Exception], ...] = (*store_errors(), OSError, ImportError)
    try:
        with one_at_a_time(uri, "mlflow", not_beside="studies"):  # the client's making opens the store too
            client = MlflowClient(tracking_uri=uri, registry_uri=registry_uri())
            client.search_experiments(max_results=1)
    except errors as error:
        fix = "check MLFLOW_TRACKING_URI, or unset it"
        if isinstance(error, ImportError):
            fix = "pip install 'flywheel[postgres]', or another driver that the address names"
        what = f"MLflow's store cannot be opened: {first_line(error)}"
        raise StoreError(what, where=masked(uri), fix=fix) from None
    return client


def open_to_read() -> MlflowClient:
    """Open a store that is there already, to read from it: nothing is written, also not beside the store.

    Raises:
        ConfigError: There is none, or it cannot be reached or opened.
    """
    set_environment()
    from mlflow import MlflowClient

    uri = tracking_uri()
    file = sqlite_file(uri)
    if file and not file.is_file():
        raise ConfigError("there is no store", where=uri, fix="run `dvc repro`, or check MLFLOW_TRACKING_URI")
    errors: tuple[type[Exception], ...] = (*store_errors(), OSError)
    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI", uri))
        client.search_registered_models(max_results=1)
    except errors as error:
        why = str(error).splitlines()[0][:300]
        raise ConfigError(f"MLflow's store cannot be opened: {why}", where=uri, fix="check it") from None
    return client


def experiment_id(client: MlflowClient, task: str) -> str:
    """The task's experiment, made where it is missing."""
    return experiment.find_or_make(client, task, artifact_root(), state_dir() / "mlflow.lock")


def find_run(task: str, model_sha256: str, client: MlflowClient | None = None) -> str | None:
    """The newest training run of these weights; None where this store has none."""
    client = client or prepare()
    found = client.get_experiment_by_name(task)
    if found is None:
        return None
    query = f"tags.{MODEL_TAG} = '{model_sha256}'"
    runs = client.search_runs([found.experiment_id], query, max_results=1, order_by=["attributes.start_time DESC"])
    return runs[0].info.run_id if runs else None


@contextlib.contextmanager
def open_run(task: str, model_sha256: str, client: MlflowClient | None = None) -> Iterator[str]:
    """Give the id of the run that trained these weights, to add to.

    Weights that came from DVC's cache or remote may have no run in this store: then one is made and tagged with them.
    """
    client = client or prepare()
    run_id = find_run(task, model_sha256, client)
    if run_id is None:
        tags = {MODEL_TAG: model_sha256, "flywheel.origin": "weights from the DVC cache"}
        run = client.create_run(experiment_id(client, task), run_name=f"{task}-{model_sha256[:8]}", tags=tags)
        run_id = str(run.info.run_id)
        client.set_terminated(run_id)
    yield run_id


def start_run(task: str, *, name: str, resume_key: str, resume: bool, tags: Mapping[str, str]) -> TrackedRun:
    """Start a training's run, or go on with the one that a killed process left.

    Args:
        task: Name of the experiment.
        name: The run's name (given, or `seed_everything` would make the random ones equal).
        resume_key: Hash of settings, data and code: equal for a training and its continuation.
        resume: Whether there is a checkpoint to go on from.
        tags: Tags of a new run.
    """
    client = prepare()
    belongs_to = experiment_id(client, task)
    left = _unfinished(client, belongs_to, resume_key)
    keep = left[0] if left and resume else None
    for run in left:
        if run is not keep and run.info.status in ("RUNNING", "SCHEDULED"):  # one that FAILED stays so
            client.set_terminated(run.info.run_id, status="KILLED")
    if keep is not None:
        client.set_tag(keep.info.run_id, "flywheel.resumed", "true")
        client.update_run(keep.info.run_id, status="RUNNING")
        return TrackedRun(client, keep.info.run_id)
    run = client.create_run(belongs_to, run_name=name, tags={RESUME_TAG: resume_key, **tags})
    return TrackedRun(client, run.info.run_id)


def _unfinished(client: MlflowClient, experiment: str, resume_key: str) -> list[Run]:
    """Runs of the same training that did not finish, newest first."""
    query = f"tags.`{RESUME_TAG}` = '{resume_key}' and attributes.status != 'FINISHED'"
    return list(client.search_runs([experiment], query, order_by=["attributes.start_time DESC"], max_results=50))

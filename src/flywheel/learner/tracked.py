"""A training that MLflow tracks as one run: begun, logged by epoch, ended, and resumed after a kill."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.project.config import TaskConfig
from flywheel.project.digest import sha256_of, sha256_of_code, sha256_of_json
from flywheel.project.params import project_root, state_dir
from flywheel.project.types import Json
from flywheel.project.whole import read_json, whole_folder

if TYPE_CHECKING:
    from flywheel.learner.machine import Machine
    from flywheel.learner.outcome import Fitted, Row
    from flywheel.project.tracked_run import TrackedRun

log = logging.getLogger("flywheel")

SETTINGS = ("seed", "model", "augment", "loss", "optimizer", "scheduler", "trainer", "metric")


def train(
    task: TaskConfig,
    processed: Path,
    target: Path,
    *,
    name: str | None = None,
    parent: str | None = None,
    overrides: list[str] | None = None,
    watch: Callable[[int, float], bool] | None = None,
    records: Path | None = None,
) -> Fitted:
    """Train a task's model, tracked as one MLflow run, resumable after a kill.

    Args:
        task: The task's settings.
        processed: Folder with the processed data.
        target: The folder that the model is to be in; replaced as a whole.
        name: The run's name; None: task and model.
        parent: The sweep's run, of which this becomes a child.
        overrides: Overrides of the command line, so that they can be adopted; None: there was no command line.
        watch: A sweep's: told the monitored metric after each epoch, it says whether to stop there.
        records: What loggers and a profiler write below; None: a new folder in `.flywheel/runs/`.

    Raises:
        FlywheelError: Settings or data are wrong, or training diverged; the run is marked FAILED.
    """
    from filelock import FileLock

    from flywheel.learner.objective import make_criterion
    from flywheel.learner.outcome import is_resumable
    from flywheel.learner.settings import check_settings
    from flywheel.project.flatten import flatten
    from flywheel.project.lineage import git_commit
    from flywheel.project.tracking import store_must_work

    if task.model.fit is None:
        from flywheel.learner.fit import fit
    else:
        from flywheel.learner.estimator.fit import fit

    check_settings(task)
    meta = read_json(processed / "meta.json")
    if meta.get("weighted"):
        make_criterion(task.loss, meta)  # refuses one that cannot weigh rows, before a run is begun
    observers = None
    if task.logger or task.callbacks or task.trainer.profiler:
        from flywheel.learner.observers import make_observers  # Lightning, which an estimator does without

        observers = make_observers(task, records or _new_folder(task), in_sweep=watch is not None)
    key = resume_key(task, meta)
    folder = state_dir() / "checkpoints" / task.name / key
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "last.ckpt"
    with FileLock(folder.with_suffix(".lock")):
        tags = {"mlflow.parentRunId": parent} if parent else {}
        tags |= {"flywheel.overrides": _with_task(task, overrides)} if overrides is not None else {}
        with store_must_work():
            run = _start_run(task, key, is_resumable(checkpoint), name, tags, git_commit(project_root()))
        try:
            with store_must_work(), run.watched_machine(), whole_folder(target) as part:
                if observers:
                    observers.begin(flatten(logged_settings(task)))
                fitted = fit(
                    task, processed, meta, part, checkpoint,
                    observers=observers,
                    on_start=lambda machine: _log_start(run, task, meta, machine),
                    on_row=_epoch_logger(run),
                    watch=watch,
                )  # fmt: skip
            with store_must_work():
                _log_end(run, task, fitted, target)
        except BaseException as error:
            _log_failure(run, error)
            raise
        checkpoint.unlink(missing_ok=True)
        folder.rmdir()
        if observers:
            observers.end()
    return fitted


def resume_key(task: TaskConfig, meta: Json) -> str:
    """Hash what decides the weights: settings, data, code. A checkpoint is used for no other training."""
    root = project_root()
    # The very settings that are logged: MLflow refuses a resumed run other values.
    settings = logged_settings(task)
    code = sha256_of_code(root, ["src/flywheel/learner", "src/flywheel/model"])
    return sha256_of_json([settings, meta, code, *_parent_weights(task)])[:16]


def _new_folder(task: TaskConfig) -> Path:
    """A folder for what looks on, named as Hydra names those of `python -m flywheel.train`; made by who writes."""
    return state_dir() / "runs" / task.name / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"


def _parent_weights(task: TaskConfig) -> list[str]:
    """The sha256 of the weights that the task learns from, where it does and they are there."""
    from flywheel.learner.distillation import parent_folder
    from flywheel.model.network import WEIGHTS

    folder = parent_folder(task)
    return [sha256_of(folder / WEIGHTS)] if folder is not None and (folder / WEIGHTS).is_file() else []


def logged_settings(task: TaskConfig) -> Json:
    """The settings that become parameters of the run."""
    everything = task.trained_with()
    del everything["metric"]["plots"]  # they are of the report, and no setting of a training
    return {**{key: everything[key] for key in (*SETTINGS, "preprocess")}, "data": task.data.name}


def _start_run(
    task: TaskConfig, key: str, resume: bool, name: str | None, more: dict[str, str], commit: str | None
) -> TrackedRun:
    from flywheel.project.tracking import start_run

    tags = {"flywheel.task": task.name, "mlflow.source.name": "flywheel.train", "mlflow.source.type": "LOCAL"}
    tags |= {"mlflow.source.git.commit": commit} if commit else {}
    tags |= more
    tags |= {"dvc.exp": exp} if (exp := os.environ.get("DVC_EXP_NAME")) else {}
    return start_run(
        task.name, name=name or f"{task.model.name}-{key[:6]}", resume_key=key, resume=resume, tags=tags
    )  # fmt: skip


def _with_task(task: TaskConfig, overrides: list[str]) -> str:
    """The overrides as a shell takes them, the task named also where it was the default."""
    named = any(word.startswith("task=") for word in overrides)
    return shlex.join(overrides if named else [f"task={task.name}", *overrides])


def _log_start(run: TrackedRun, task: TaskConfig, meta: Json, machine: Machine) -> None:
    """Say everything that decides the result, before the first step: a killed run has it too."""
    import yaml

    from flywheel.project.lineage import git_diff, lock_hashes, package_versions

    root = project_root()
    run.log_settings(logged_settings(task))
    diff = git_diff(root)
    versions = {f"version.{name}": version for name, version in package_versions().items()}
    hashes = {f"dvc.{path}": md5 for path, md5 in lock_hashes(root, f"preprocess@{task.name}").items()}
    run.set_tags({**machine.tags(), **versions, **hashes, "git.dirty": bool(diff)})
    run.log_text(yaml.safe_dump(asdict(task), sort_keys=False), "config.yaml")
    if diff:
        run.log_text(diff + "\n", "uncommitted.diff")
    source = {"uri": task.data.download.sources[0].uri, "licence": task.data.licence}
    run.log_data(task.data.name, meta["sha256"]["train"], source, "training")
    run.log_data(task.data.name, meta["sha256"]["validation"], source, "validation")


class _epoch_logger:  # noqa: N801 - used as a function that remembers what it has logged
    """Logs each epoch's figures once, also when a resumed training tells the earlier ones again."""

    def __init__(self, run: TrackedRun) -> None:
        self._run = run
        self._logged: set[int] | None = None

    def __call__(self, row: Row) -> None:
        epoch = int(row["epoch"])
        if self._logged is None:
            self._logged = self._run.logged_epochs()
        if epoch not in self._logged:
            self._run.log_metrics({k: v for k, v in row.items() if k not in ("epoch", "step")}, step=epoch)
            self._logged.add(epoch)


def _log_end(run: TrackedRun, task: TaskConfig, fitted: Fitted, target: Path) -> None:
    from flywheel.project.tracking import MODEL_TAG

    run.log_files(target, "model")
    run.log_metrics({f"best/{task.metric.monitor.name}": fitted.score, "best/epoch": fitted.epoch}, step=fitted.epoch)
    run.set_tags({MODEL_TAG: fitted.model_sha256})
    run.end()


def _log_failure(run: TrackedRun, error: BaseException) -> None:
    """Mark the run, with what went wrong as a file of it; a store that fails too must not hide the first error."""
    import traceback

    from flywheel.project.database import first_line, masked
    from flywheel.project.tracking import store_errors

    text = masked("".join(traceback.format_exception(error)))
    try:
        run.log_text(text, "error.txt")
        run.end("FAILED" if isinstance(error, Exception) else "KILLED")
    except store_errors() as second:
        log.warning("the failure could not be recorded in MLflow: %s", first_line(second))

"""Where the project lies, and how `params.yaml` becomes typed settings; unknown keys are refused here.

The stages read `params.yaml` and nothing else; composing it from `conf/` is `flywheel.project.compose`'s, which alone
imports Hydra.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from flywheel.project.config import TaskConfig
from flywheel.project.errors import ConfigError, nearest
from flywheel.project.settings import settings_from

_TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # it becomes a folder, a DVC stage and an MLflow model


def project_root(start: Path | None = None) -> Path:
    """Find the project: the nearest folder, from `start` (the current one) up, with `dvc.yaml` and `conf/`.

    Raises:
        ConfigError: There is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "conf").is_dir():
            return folder
    raise ConfigError("not inside a Flywheel project", where=here, fix="go to the folder that holds dvc.yaml")


def home_root() -> Path:
    """The main checkout, also inside one of DVC's experiment copies: MLflow's and `.flywheel/`'s place.

    DVC sets `DVC_ROOT` to it for every stage, wherever the stage runs.
    """
    root = os.environ.get("DVC_ROOT")
    return Path(root).resolve() if root else project_root()


def state_dir() -> Path:
    """`.flywheel/` of the main checkout: checkpoints, stores and locks; nothing in it is a result."""
    return home_root() / ".flywheel"


def task_from(raw: Any, where: str) -> TaskConfig:
    """Check plain data against the schema and make it typed.

    Args:
        raw: The task's mapping, as YAML gives it.
        where: The dotted key it stands at, for messages.

    Raises:
        ConfigError: A key is unknown (the nearest is named) or missing, or a value is none that may stand there.
    """
    task = settings_from(TaskConfig, raw, where)
    if not _TASK_NAME.fullmatch(task.name):
        key = f"{where}.name".lstrip(".")
        raise ConfigError(f"'{task.name}' cannot name a task", where=key, fix="use letters, digits, _ and -")
    return task


def load_params(path: Path | None = None) -> dict[str, Any]:
    """Read `params.yaml`.

    Raises:
        ConfigError: It is missing, is not YAML, or has no tasks.
    """
    file = path or project_root() / "params.yaml"
    try:
        params = load_yaml(file.read_text())
    except FileNotFoundError:
        raise ConfigError("missing", where=file, fix="run `make params`") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"no YAML: {error}".replace("\n", " "), where=file, fix="run `make params`") from None
    if not isinstance(params, dict) or not isinstance(params.get("tasks"), dict):
        raise ConfigError("has no tasks", where=file, fix="run `make params`")
    return params


def load_yaml(text: str | bytes) -> Any:
    """Read YAML by libyaml where it is there, which is ten times as fast.

    Raises:
        yaml.YAMLError: It is none.
    """
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


def load_task(name: str, path: Path | None = None) -> TaskConfig:
    """Read one task's settings from `params.yaml`.

    Raises:
        ConfigError: There is no such task, or its settings do not fit the schema.
    """
    tasks = load_params(path)["tasks"]
    if name not in tasks:
        raise ConfigError(f"no task '{name}'", where="params.yaml", fix=nearest(name, tasks))
    return task_from(tasks[name], f"tasks.{name}")

"""The params stage: `params.yaml` must be what `conf/` composes to before any other stage runs.

DVC reads `params.yaml` before it starts a stage, so that this stage cannot compose it anew for the same `dvc repro`: it
stops, and names the command that does.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from flywheel.project import dvc_lock
from flywheel.project.errors import ConfigError
from flywheel.project.params import home_root, load_params, project_root
from flywheel.project.stage import explained, set_up_process
from flywheel.project.staleness import in_experiment
from flywheel.project.whole import read_json, whole_file

log = logging.getLogger("flywheel")

CHECKED = Path("data/params.checked")
_HINT = "run `flywheel params`, then the same command again"


def check() -> None:
    """Do the stage: `conf/`, `params.yaml` -> `data/params.checked`, whose content is always the same.

    It also makes the folders for feedback that are missing, on which every `preprocess` stage depends: git does not
    carry those of a new task into an experiment's copy of the project before they are committed.

    Raises:
        ConfigError: `params.yaml` is stale, `conf/` does not compose, an experiment's settings are wrong, or a new
            model does not fit the data.
    """
    from flywheel.learner.task_check import check_task
    from flywheel.project import compose

    root = project_root()
    if in_experiment():  # nobody has looked at what `-S` sets, and DVC removes the old model before `train` starts
        for name, task in load_params()["tasks"].items():
            check_task(task, f"tasks.{name}", root)
    elif compose.is_stale(root):
        raise ConfigError("differs from what conf/ composes to", where="params.yaml", fix=_HINT)
    compose.make_feedback_folders(root, (root / "params.yaml").read_text())
    if root != home_root():
        _warn_of_what_was_not_copied(root)
    _refuse_models_that_do_not_fit(root)
    with whole_file(root / CHECKED) as part:
        part.write_text("params.yaml is what conf/ composes to.\n")


def _refuse_models_that_do_not_fit(root: Path) -> None:
    """Make each network that is new, for the data that are there: DVC removes the old model before `train` starts.

    Raises:
        ConfigError: A model is one for other data.
    """
    params, stages = load_params(), dvc_lock.read(root).get("stages", {})
    for name, task in params["tasks"].items():
        before: dict[str, Any] = {}
        for verb in ("download", "preprocess", "train"):
            before |= stages.get(f"{verb}@{name}", {}).get("params", {}).get("params.yaml", {})
        model, meta = f"tasks.{name}.model", root / "data/processed" / name / "meta.json"
        is_new = before.pop(model, task["model"]) != task["model"]
        parts = (f"tasks.{name}.data", f"tasks.{name}.preprocess")
        same_data = all(_at(params, key) == value for key, value in before.items() if key.startswith(parts))
        if is_new and same_data and meta.is_file():
            from flywheel.model.network import build_network

            build_network(task["model"]["net"], read_json(meta), where=f"{model}.net")


def _at(params: Any, key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    for part in key.split("."):
        params = params.get(part) if isinstance(params, dict) else None
    return params


def _warn_of_what_was_not_copied(root: Path) -> None:
    """Name local data of the main checkout that an experiment's copy lacks; DVC only says `[Errno 2]`."""
    for name, task in load_params()["tasks"].items():
        place = task["data"]["watch"]
        if (home_root() / place).exists() and not (root / place).exists():
            lacks = f"task {name}: {place} is not in this experiment's copy, because neither git nor DVC knows it"
            log.warning("flywheel: warning: %s; run `dvc add %s` and `git add conf data`", lacks, shlex.quote(place))


def main() -> int:
    """Run the stage as DVC calls it.

    Returns:
        The exit code: 0, or 2 where `params.yaml` is stale.
    """
    set_up_process()
    with explained() as outcome:
        os.chdir(project_root())
        check()
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())

"""What DVC is to watch for a task, where its settings leave that open; and the resolver `flywheel_code`.

Hydra imports it at every start, also where `dvc exp run` composes, so what it imports is light.
"""

from contextlib import suppress
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from flywheel.project.errors import ConfigError
from flywheel.project.flatten import targets_in
from flywheel.project.model_choice import settings_of_another_model
from flywheel.project.params import project_root

ROOMS = PurePosixPath("src/flywheel/modality")
"""A folder for each kind of data; all of them where a task names classes of several, or of none."""
NOTHING = {
    "data.watch": "src/flywheel/source/__init__.py",
    "model.watch": "src/flywheel/model/__init__.py",
    "trainer.parent": "src/flywheel/learner/__init__.py",
    "export.student": "src/flywheel/registry/__init__.py",
}
"""Settings that name a dependency which a task may do without, and the file that stands for none: DVC refuses a path
that is not there."""


def fill_in(composed: Any, root: Path | None = None) -> None:
    """Give every task in a composition the paths that DVC needs, where they are null, missing, or stand for none.

    What its file sets for another model than is chosen is left out, too.

    Args:
        composed: One task, or `tasks` of several.
        root: The project; None: the one that this process works in.
    """
    tasks = composed.get("tasks")
    for task in tasks.values() if isinstance(tasks, DictConfig) else [composed]:
        _leave_out(task, root)
        for key, nothing in NOTHING.items():
            group, name = key.split(".")
            settings = _told(task, group)
            if isinstance(settings, DictConfig) and settings and _told(settings, name) in (None, "", nothing):
                found = _only_local_source(settings) if key == "data.watch" else None
                with open_dict(settings):
                    settings[name] = found or nothing


def _leave_out(task: Any, root: Path | None) -> None:
    """Take out what the task's file sets of another model's net; what was typed since stays, and is refused."""
    net, name, target = _told(task, "model.net"), _told(task, "name"), _told(task, "model.net._target_")
    if isinstance(net, DictConfig) and isinstance(name, str) and isinstance(target, str):
        with open_dict(net), suppress(ConfigError):  # outside of a project there are no files
            for key, value in settings_of_another_model(name, map(str, net), target, root or project_root()).items():
                if _told(net, key) == value:
                    net.pop(key)


def _told(settings: Any, key: str) -> Any:
    try:
        return OmegaConf.select(settings, key) if isinstance(settings, DictConfig) else None
    except OmegaConfBaseException:  # an interpolation to nowhere, which is reported where it is resolved
        return ...


def _only_local_source(data: Any) -> str | None:
    """The file or folder of a data set whose one source is a `file:`; of several, any may be missing.

    None for one in a home folder: `params.yaml` would differ from machine to machine.
    """
    sources, uri = _told(data, "download.sources"), str(_told(data, "download.sources.0.uri"))
    if not OmegaConf.is_list(sources) or len(sources) != 1 or not uri.startswith("file:"):
        return None
    is_url = uri.startswith("file://")
    path = unquote(uri.removeprefix("file://").removeprefix("localhost")) if is_url else uri.removeprefix("file:")
    parts = list(takewhile(lambda part: "{file}" not in part, PurePosixPath(path).parts))
    return str(PurePosixPath(*parts)) if parts and not path.startswith("~") else None


def code_of(part: str, *, _parent_: Any) -> str:
    """Give the path that a stage depends on.

    Args:
        part: `data` (what reads and encodes rows), `room` (all that is of this kind of data), or `augment` (what is
            done to a batch in training; some other file where that is nothing of the modality's own).
        _parent_: OmegaConf's: the node `preprocess.code`.

    Returns:
        A path from the project's folder; DVC refuses one that is not there.
    """
    preprocess = _parent_._get_parent()
    task = preprocess._get_parent()
    if isinstance(task, DictConfig):
        fill_in(task)  # `dvc exp run` composes by Hydra alone, then resolves in place: this is the one door to it
    if part == "augment":
        rooms = _rooms(task, "augment")
        return str(ROOMS / rooms.pop() / "augment.py") if len(rooms) == 1 else str(ROOMS / "__init__.py")
    names = _rooms(task, "preprocess", "data")
    names |= _rooms(task, "evaluate") if part == "room" else set()
    if len(names) != 1 or names == {"joint"}:
        return str(ROOMS)
    return str(ROOMS / names.pop() / "data") if part == "data" else str(ROOMS / names.pop())


def _rooms(task: Any, *groups: str) -> set[str]:
    """The folders of the modalities whose classes a task's groups name."""
    found = set()
    for group in groups:
        if task is None or task._get_node(group) is None:
            continue
        for target in targets_in(OmegaConf.to_container(task._get_node(group), resolve=False)):
            if target.startswith("flywheel.modality."):
                found.add(target.split(".")[2])
    return found


OmegaConf.register_new_resolver("flywheel_code", code_of, replace=True)

"""The resolver `flywheel_code`: the code that DVC is to watch for a task, told from the classes that its settings name.

Hydra imports it at every start, also where `dvc exp run` composes, so what it imports is light.
"""

from pathlib import PurePosixPath
from typing import Any

from omegaconf import OmegaConf

from flywheel.project.flatten import targets_in

ROOMS = PurePosixPath("src/flywheel/modality")
"""A folder for each kind of data; all of them where a task names classes of several, or of none."""


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

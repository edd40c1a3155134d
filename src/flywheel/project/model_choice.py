"""What a task's file sets of its model, where another model has been chosen for the task.

`conf/task/tabular_thing.yaml` may set `model.net.hidden` for the network that it names. With `model=boosted_trees` on
the command line Hydra keeps that value, and trees have no hidden layers. Such values are left out, so that a model is
chosen by one word. A word that the task's own model does not have stays, and is refused as any unknown key is.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from flywheel.project.params import load_yaml

_HERE = "@_here_"


def settings_of_another_model(name: str, net: Iterable[str], target: str, root: Path) -> dict[str, Any]:
    """The values of `model.net` that a task's file, or one that it starts from, sets for another model than is chosen.

    Args:
        name: The task's.
        net: The keys of `model.net` as composed. No file is read where the chosen net takes all of them.
        target: The `_target_` of the chosen net.
        root: The project.

    Returns:
        Those that the chosen net does not take, by their keys.
    """
    taken = _arguments(target)
    strange = set(net) - taken - {"_target_"} if taken else set()
    found: dict[str, Any] = {}
    for values, option in _task_files(root / "conf", name) if strange else ():
        if values and option and _target_of(root / "conf/model", option) not in ("", target):
            found |= values
    return {key: value for key, value in found.items() if key in strange}


def start_of(defaults: Iterable[Any]) -> str:
    """The task that a defaults list starts from; empty where there is none."""
    starts = (item for item in defaults if isinstance(item, str) and item.endswith(_HERE))
    return next(starts, "").removesuffix(_HERE)


def _task_files(conf: Path, name: str) -> list[tuple[dict[str, Any], str]]:
    """For each file that a task starts from, and then its own: its values of `model.net`, and its option of `model`."""
    read: list[dict[str, Any]] = []
    while name and len(read) < 9:  # a file that starts from itself is Hydra's to refuse
        body = _read(conf / "task" / f"{name}.yaml")
        read.append(body)
        name = start_of(body.get("defaults") or ())
    found: list[tuple[dict[str, Any], str]] = []
    option = ""
    for body in reversed(read):
        option = _option(body) or option
        net = (body.get("model") or {}).get("net") if isinstance(body.get("model"), dict) else None
        found.append((net if isinstance(net, dict) else {}, option))
    return found


def _option(body: dict[str, Any]) -> str:
    """The option of the group `model` in a defaults list: `/model`, `override /model`, `/model@model`."""
    for item in body.get("defaults") or ():
        for key, option in item.items() if isinstance(item, dict) else ():
            if key.removeprefix("override ").lstrip("/").partition("@")[0] == "model":
                return str(option)
    return ""


def _target_of(models: Path, option: str) -> str:
    """The `_target_` of a file of `conf/model/`, or of the one that it starts from."""
    for _ in range(9):
        body = _read(models / f"{option}.yaml")
        target = (body.get("net") or {}).get("_target_") if isinstance(body.get("net"), dict) else None
        starts = [item for item in body.get("defaults") or () if isinstance(item, str) and item != "_self_"]
        if target or not starts:
            return str(target or "")
        option = starts[0]
    return ""


def _read(file: Path) -> dict[str, Any]:
    try:
        body = load_yaml(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return body if isinstance(body, dict) else {}


@functools.cache
def _arguments(target: str) -> frozenset[str]:
    """The arguments of a class, read from its source: an import would cost seconds. Empty where it cannot be read."""
    module, _, name = target.rpartition(".")
    spec = importlib.util.find_spec(module) if module.startswith("flywheel.model.") else None
    if spec is None or spec.origin is None:
        return frozenset()
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.ClassDef) and node.name == name:
            made = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
            if made is not None:
                return frozenset(argument.arg for argument in (*made.args.args, *made.args.kwonlyargs))
    return frozenset()

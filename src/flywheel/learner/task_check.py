"""What of a task's settings can be found wrong before any data are there, and whose setting it is.

It comes after the targets are known to be allowed (`flywheel.project.instantiate`), and imports what they name.
"""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from flywheel.project.config import TaskConfig
from flywheel.project.errors import ConfigError
from flywheel.project.instantiate import check_targets
from flywheel.project.moved import present_name
from flywheel.project.params import load_yaml, task_from

_NUMBERS = (int, float, complex, bool)
_LISTS = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)


def check_task(task: Any, where: str, root: Path) -> None:
    """Check all that can be known of a composed task before there are data.

    Args:
        task: As `flywheel.project.compose` gives it.
        where: The dotted key of the task, for messages; empty: it stands at the root, and is none of the pipeline's.
        root: The project.

    Raises:
        ConfigError: A key, a type, a target or a value is wrong.
    """
    task_from(task, where)
    try:
        check_targets(TaskConfig, task, where)
    except ConfigError as error:
        raise explained(error, task, root) from None
    check_values(task, where)
    if where:
        _refuse_timers(task.get("callbacks") or {}, where)


def check_values(task: Mapping[str, Any], where: str) -> None:
    """Check the arguments of all targets against their annotations, words against those known, and the optimizer.

    Args:
        task: Composed and checked against the schema, its targets against what may stand there.
        where: The dotted key of the task, for messages.

    Raises:
        ConfigError: A value would only fail later, when data are fetched and prepared.
    """
    from flywheel.learner.settings import check_values as check_words

    _check_types(task, where)
    try:
        check_words(task_from(task, where))
        _check_optimizer(task["optimizer"])
        _check_observers(task_from(task, ""))
    except ConfigError as error:
        raise ConfigError(error.what, where=f"{where}.{error.where}".lstrip("."), fix=error.fix) from None


def explained(error: ConfigError, task: Mapping[str, Any], root: Path) -> ConfigError:
    """Say of an unknown key which file sets it: a task's own settings stay where another model is chosen for it.

    Args:
        error: The error; any other than an unknown key is returned unchanged.
        task: The composed task.
        root: The project folder.
    """
    found = re.fullmatch(r"unknown key '([^']+)'", error.what)
    if not found or error.where is None:
        return error
    name = task["name"]
    prefix, node = ("", error.where)
    if error.where.startswith(f"tasks.{name}."):
        prefix, node = f"tasks.{name}.", error.where.removeprefix(f"tasks.{name}.")
    file = root / "conf/task" / f"{name}.yaml"
    own: Any = load_yaml(file.read_text()) if file.is_file() else {}
    for part in node.split("."):
        own = own.get(part) if isinstance(own, dict) else None
    if not isinstance(own, dict) or found[1] not in own:
        return error
    inner: Any = task
    for part in node.split("."):
        inner = inner[part]
    keys = [key for key in own if key not in _names(inner)]
    option = "-S " if prefix else ""
    words = " ".join(f"{option}{shlex.quote(f'~{prefix}{node}.{key}')}" for key in keys)
    sets = f"conf/task/{name}.yaml sets {' and '.join(keys)} for another {node.split('.')[0]}"
    return ConfigError(f"{error.what}: {sets}", where=error.where, fix=f"edit that file, or add {words} to the command")


def _names(node: Mapping[str, Any]) -> set[str]:
    """The arguments that a node's target takes."""
    return set(inspect.signature(_target(node)).parameters)


def _target(node: Mapping[str, Any]) -> Any:
    module, _, name = present_name(str(node["_target_"])).rpartition(".")
    return getattr(importlib.import_module(module), name)


def _check_types(node: Any, where: str) -> None:
    if isinstance(node, Mapping):
        hints = _hints(node) if "_target_" in node else {}
        for key, value in node.items():
            place = f"{where}.{key}".lstrip(".")
            if wanted := _misfit(value, hints.get(key)):
                raise ConfigError(f"{value!r} is not {wanted}", where=place, fix=f"{node['_target_']} takes {wanted}")
            _check_types(value, place)
    elif isinstance(node, list):
        for index, item in enumerate(node):
            _check_types(item, f"{where}[{index}]")


def _hints(node: Mapping[str, Any]) -> dict[str, Any]:
    target = _target(node)
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):  # annotations that are there for a type checker alone
        return {}


def _misfit(value: Any, hint: Any) -> str:
    """The type an argument takes, if a value certainly does not have it; empty if it does, or may."""
    kinds = [get_origin(one) or one for one in _options(hint)]
    takes_number = any(kind in _NUMBERS for kind in kinds)
    takes_list = any(kind in _LISTS for kind in kinds)
    others = [kind for kind in kinds if kind not in (*_NUMBERS, *_LISTS, NoneType) and not _is_tensor(kind)]
    if hint is None or others or not (takes_number or takes_list):
        return ""
    is_text = isinstance(value, str) and not value.startswith("meta.")
    if not (is_text or (value is None and NoneType not in kinds) or (isinstance(value, list) and not takes_list)):
        return ""
    if kinds == [bool]:
        return "true or false"
    return " or ".join(["a number"] * takes_number + ["a list"] * takes_list)


def _options(hint: Any) -> list[Any]:
    return list(get_args(hint)) if get_origin(hint) in (Union, UnionType) else [hint]


def _is_tensor(kind: Any) -> bool:
    return getattr(kind, "__module__", "").startswith("torch") and getattr(kind, "__name__", "") == "Tensor"


def _check_optimizer(node: Mapping[str, Any]) -> None:
    """Make the optimizer for one number: it knows its own bounds."""
    import torch

    settings = {key: value for key, value in node.items() if key != "_target_"}
    try:
        _target(node)([torch.nn.Parameter(torch.zeros(1))], **settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error).splitlines()[0], where="optimizer", fix="fix it there") from None


def _check_observers(task: TaskConfig) -> None:
    """Make what looks on at the training, where there is something: it knows what it takes."""
    if task.callbacks or task.logger:
        from flywheel.learner.observers import make_observers

        make_observers(task, Path())


def _refuse_timers(callbacks: Mapping[str, Any], where: str) -> None:
    """Refuse a time limit in the pipeline, where the same settings are to give the same bytes."""
    for name, node in callbacks.items():
        if node["_target_"].endswith(".Timer"):
            what = "ends a training by the clock, and results of the pipeline depend on none"
            raise ConfigError(what, where=f"{where}.callbacks.{name}", fix="use trainer.max_epochs")

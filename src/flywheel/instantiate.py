"""Makes the object a `_target_` node describes, and only from the modules that configuration may reach.

A YAML file must not be able to run any code it likes, so targets are held to an allow-list of prefixes. Facts that
only the data know (class counts, shapes) are written `meta.<key>` and filled in from `meta.json`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from flywheel.errors import ConfigError, nearest

# Of this package only what configuration is meant to choose: flywheel.source, say, can start programs.
ALLOWED_PREFIXES = (
    "flywheel.reader.",
    "flywheel.preprocessor.",
    "flywheel.model.",
    "flywheel.learner.augmentation.",
    "flywheel.learner.bpr.",
    "flywheel.learner.criterion.",
    "flywheel.learner.metric.",
    "flywheel.learner.scheduler.",
    "flywheel.registry.variant.",
    "flywheel.report.",
    "torch.nn.",
    "torch.optim.",
    "torchmetrics.",
    "pytorch_lightning.",
)


def locate(node: Mapping[str, Any], where: str) -> Any:
    """Import what a node's `_target_` names.

    Args:
        node: A mapping with `_target_`.
        where: The dotted key of the node, for messages.

    Raises:
        ConfigError: There is no target, it is outside the allow-list, or it does not exist.
    """
    target = node.get("_target_")
    if not isinstance(target, str):
        raise ConfigError("has no _target_", where=where, mend="name the class to build")
    if not target.startswith(ALLOWED_PREFIXES) or ".." in target or "__" in target:
        allowed = ", ".join(f"{prefix}*" for prefix in ALLOWED_PREFIXES)
        raise ConfigError(f"target '{target}' is not allowed", where=where, mend=f"allowed: {allowed}")
    module_name, _, attribute = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise ConfigError(f"no module '{module_name}'", where=where, mend="check _target_") from None
    found = getattr(module, attribute, None)
    if not callable(found):
        names = [name for name in vars(module) if not name.startswith("_")]
        raise ConfigError(f"'{module_name}' has no '{attribute}'", where=where, mend=nearest(attribute, names))
    home = getattr(found, "__module__", None) or module_name
    if not f"{home}.".startswith(ALLOWED_PREFIXES):
        # e.g. flywheel.params.Path or flywheel.train.subprocess: reached through, not part of, an allowed module.
        raise ConfigError(f"target '{target}' belongs to '{home}'", where=where, mend="name a class of its own module")
    return found


def build(node: Mapping[str, Any], *, where: str, meta: Mapping[str, Any] | None = None, **given: Any) -> Any:
    """Make the object that a node describes; nested `_target_` nodes are made first.

    Args:
        node: `_target_` and its keyword arguments.
        where: The dotted key of the node, for messages.
        meta: What `meta.<key>` values are looked up in (`meta.json`).
        **given: Further keyword arguments, known only at run time; they win over the node's.

    Raises:
        ConfigError: A target is not allowed or not there, an argument is unknown or missing, or `meta.<key>` is not
            in `meta`.
    """
    target = locate(node, where)
    arguments = {key: _value(item, f"{where}.{key}", meta) for key, item in node.items() if key != "_target_"}
    arguments.update(given)
    check_arguments(target, arguments, where)
    try:
        return target(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{node['_target_']}: {error}", where=where, mend="mend its arguments in conf/") from error


def check_arguments(target: Any, arguments: Iterable[str], where: str, *, partial: bool = False) -> None:
    """Refuse arguments that a target does not take, and (unless `partial`) those it lacks."""
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:  # a builtin without a signature: its own TypeError will say
        return
    names = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    known = set(arguments)
    for key in known:
        if key not in names and not open_ended:
            raise ConfigError(f"unknown key '{key}'", where=where, mend=nearest(key, names))
    missing = [n for n in names if parameters[n].default is inspect.Parameter.empty and n not in known]
    if missing and not partial:
        raise ConfigError(f"missing key {', '.join(missing)}", where=where, mend="add it in conf/")


def check_node(node: Any, where: str) -> None:
    """Check a node's target and argument names, nested ones included, without making anything."""
    if isinstance(node, Mapping):
        for key, item in node.items():
            check_node(item, f"{where}.{key}".lstrip("."))
        if "_target_" in node:
            check_arguments(locate(node, where), [k for k in node if k != "_target_"], where, partial=True)
    elif isinstance(node, list):
        for index, item in enumerate(node):
            check_node(item, f"{where}[{index}]")


def _value(item: Any, where: str, meta: Mapping[str, Any] | None) -> Any:
    """Resolve `meta.<key>` and nested nodes."""
    if isinstance(item, Mapping):
        if "_target_" in item:
            return build(item, where=where, meta=meta)
        return {key: _value(value, f"{where}.{key}", meta) for key, value in item.items()}
    if isinstance(item, list):
        return [_value(value, f"{where}[{index}]", meta) for index, value in enumerate(item)]
    if isinstance(item, str) and item.startswith("meta."):
        key = item.removeprefix("meta.")
        if meta is None or key not in meta:
            raise ConfigError(f"meta.json has no '{key}'", where=where, mend=nearest(key, meta or {}))
        return meta[key]
    return item

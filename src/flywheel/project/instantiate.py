"""Makes the object that a `_target_` node describes: only of the type that the node's place takes.

A YAML file must not be able to run any code it likes. So each place of the configuration states a `Kind`: a base class,
the modules that its classes come from, and a closed list of functions. Anything else that a module holds, or imports,
is refused, and arguments are data: only a node that the kind may contain becomes an object. Facts that only the data
know (class counts, shapes) are written `meta.<key>` and filled in from `meta.json`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from flywheel.project.errors import ConfigError, nearest
from flywheel.project.kind import Kind, is_in, name_of
from flywheel.project.moved import present_name


def locate(node: Mapping[str, Any], *kinds: Kind, where: str, stored: bool = False) -> Any:
    """Import what a node's `_target_` names.

    Args:
        node: A mapping with `_target_`.
        *kinds: Kinds that are allowed here, at least one.
        where: The dotted key of the node, for messages.
        stored: Whether the node was read from a file of results (`model.json`, `preprocessor.json`), not settings. A
            program wrote it, and named the class by the module that defines it.

    Raises:
        ConfigError: There is no target, it is of no kind that may stand here, or it does not exist.
    """
    target = node.get("_target_")
    if not isinstance(target, str):
        raise ConfigError("has no _target_", where=where, fix="name the class to build")
    target = present_name(target)
    fix = " or ".join(f"name {kind.described}" for kind in kinds)
    homes = [home for kind in kinds for home in (*kind.homes, *(name.rpartition(".")[0] for name in kind.functions))]
    module_name, _, attribute = target.rpartition(".")
    # A package above a home may pass its classes on (torch.nn.Linear); nothing else is imported to look.
    known = [home for home in homes if is_in(module_name, home) or is_in(home, module_name)]
    if not known or ".." in target or "__" in target or not attribute:
        raise ConfigError(f"target '{target}' is not allowed", where=where, fix=fix)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise ConfigError(f"no module '{module_name}'", where=where, fix="check _target_") from None
    found = getattr(module, attribute, None)
    if not callable(found):
        names = [name for name, value in vars(module).items() if any(kind.takes(value) for kind in kinds)]
        raise ConfigError(f"'{module_name}' has no '{attribute}'", where=where, fix=nearest(attribute, names))
    if not any(kind.takes(found) for kind in kinds):
        home = getattr(found, "__module__", None) or module_name
        if not any(is_in(str(home), home_) for home_ in homes):
            # e.g. flywheel.model.network.Path: reached through, not part of, an allowed module.
            raise ConfigError(f"target '{target}' belongs to '{home}'", where=where, fix=fix)
        what = f"'{target}' is not {' or '.join(kind.base for kind in kinds)}"
        raise ConfigError(what, where=where, fix=fix)
    if stored and target not in (name_of(found), f"torch.nn.{found.__name__}"):
        raise ConfigError(
            f"target '{target}' is '{name_of(found)}' by another name",
            where=where,
            fix="run `dvc repro`, or `dvc checkout`",
        )
    return found


def build(
    node: Mapping[str, Any],
    kind: Kind,
    *,
    where: str,
    meta: Mapping[str, Any] | None = None,
    stored: bool = False,
    **given: Any,
) -> Any:
    """Make the object that a node describes; nested `_target_` nodes are made first.

    Args:
        node: `_target_` and its keyword arguments.
        kind: Kind that is allowed here.
        where: The dotted key of the node, for messages.
        meta: Contents of `meta.json`, for `meta.<key>` values.
        stored: Whether the node comes from a file of results; see `locate`.
        **given: Further keyword arguments, known only at run time; they win over the node's.

    Raises:
        ConfigError: A target is not allowed or not there, an argument is unknown, missing or of no use, or `meta.<key>`
            is not in `meta`.
    """
    return _build(node, (kind,), where, meta, stored, given)


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
            raise ConfigError(f"unknown key '{key}'", where=where, fix=nearest(key, names))
    missing = [n for n in names if parameters[n].default is inspect.Parameter.empty and n not in known]
    if missing and not partial:
        raise ConfigError(f"missing key {', '.join(missing)}", where=where, fix="add it in conf/")


def check_targets(hint: Any, value: Any, where: str) -> None:
    """Check the targets and argument names of all nodes in settings, nested ones included, without making anything.

    Args:
        hint: The type that the settings have: a dataclass, or a field's type. Its nodes are `Annotated[Node, KIND]`.
        value: The settings as plain data; keys that are not there are not missed.
        where: The dotted key that the settings stand at.

    Raises:
        ConfigError: A node's target is not allowed there, does not exist, or does not take an argument.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if value is None:
        return
    if origin is Annotated and isinstance(arguments[1], Kind):
        check_node(value, arguments[1], where=where)
    elif is_dataclass(hint) and isinstance(value, Mapping):
        for key, inner in get_type_hints(hint, include_extras=True).items():
            check_targets(inner, value.get(key), f"{where}.{key}".lstrip("."))
    elif origin in (Union, UnionType):
        for inner in arguments:
            if inner is not NoneType:
                check_targets(inner, value, where)
    elif origin is dict and isinstance(value, Mapping):
        for key, item in value.items():
            check_targets(arguments[1], item, f"{where}.{key}")
    else:
        _check_value(value, (), where)  # nothing is built here: a value is data, and names no class


def check_node(node: Any, *kinds: Kind, where: str) -> None:
    """Check one node's target and argument names, nested ones included, without making anything.

    Raises:
        ConfigError: A target is not allowed there, does not exist, or does not take an argument.
    """
    found = locate(node, *kinds, where=where)
    inner = _inner(kinds, found)
    for key, item in node.items():
        _check_value(item, inner, f"{where}.{key}".lstrip("."))
    check_arguments(found, [key for key in node if key != "_target_"], where, partial=True)


def _check_value(item: Any, kinds: tuple[Kind, ...], where: str) -> None:
    if isinstance(item, Mapping):
        if "_target_" in item:
            _must_nest(item, kinds, where)
            check_node(item, *kinds, where=where)
            return
        for key, value in item.items():
            _check_value(value, kinds, f"{where}.{key}")
    elif isinstance(item, list):
        for index, value in enumerate(item):
            _check_value(value, kinds, f"{where}[{index}]")


def _build(
    node: Mapping[str, Any],
    kinds: tuple[Kind, ...],
    where: str,
    meta: Mapping[str, Any] | None,
    stored: bool,
    given: Mapping[str, Any],
) -> Any:
    target = locate(node, *kinds, where=where, stored=stored)
    inner = _inner(kinds, target)

    def value_of(item: Any, where: str) -> Any:
        """Resolve `meta.<key>` and nested nodes; what `meta` holds is data, whatever it looks like."""
        if isinstance(item, Mapping):
            if "_target_" in item:
                _must_nest(item, inner, where)
                return _build(item, inner, where, meta, stored, {})
            return {key: value_of(value, f"{where}.{key}") for key, value in item.items()}
        if isinstance(item, list):
            return [value_of(value, f"{where}[{index}]") for index, value in enumerate(item)]
        if isinstance(item, str) and item.startswith("meta."):
            key = item.removeprefix("meta.")
            if meta is None or key not in meta:
                raise ConfigError(f"meta.json has no '{key}'", where=where, fix=nearest(key, meta or {}))
            return meta[key]
        return item

    arguments = {key: value_of(item, f"{where}.{key}") for key, item in node.items() if key != "_target_"}
    arguments.update(given)
    check_arguments(target, arguments, where)
    try:
        return target(**arguments)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        why = str(error).partition("\n")[0]
        raise ConfigError(f"{node['_target_']}: {why}", where=where, fix="fix its arguments in conf/") from error


def _must_nest(node: Mapping[str, Any], kinds: tuple[Kind, ...], where: str) -> None:
    if not kinds:
        raise ConfigError(f"'{node['_target_']}' cannot stand here", where=where, fix="give a value, not a _target_")


def _inner(kinds: tuple[Kind, ...], found: Any) -> tuple[Kind, ...]:
    """What may stand in the arguments of something that was found for one of these kinds."""
    return next(kind.inner for kind in kinds if kind.takes(found))

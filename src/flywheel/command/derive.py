"""A task that starts from another: it composes alone to what that one composed to with overrides, and says no more."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.project.errors import ConfigError
from flywheel.project.model_choice import start_of
from flywheel.project.types import Json

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

MARK = "# Written by `flywheel adopt`"
MAX_TOLD = 6
NOT_TRAINED = re.compile(r"(task|sweep|hydra|callbacks|logger|trainer\.profiler)\b")  # where and how it was run
_MISSING = object()
Key = tuple[str, ...]


@dataclass
class Derived:
    """What a task's file says.

    Attributes:
        defaults: The file's defaults list.
        values: Values by key, split at the dots.
    """

    defaults: list[Any]
    values: dict[Key, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Derived:
        """Read a file of `conf/task/`; its comments are left."""
        from omegaconf import OmegaConf

        found: Any = OmegaConf.to_container(OmegaConf.load(file))
        return cls(list(found.pop("defaults", [])), dict(_leaves((), found)) if found else {})

    def base(self, draft: Draft) -> Derived:
        """The task that it starts from; an empty one where it starts from none."""
        return Derived.read(draft.file(start)) if (start := start_of(self.defaults)) else Derived([])

    def repeating(self, draft: Draft) -> Derived:
        """The same with what its base says in it: in Hydra, a file that starts from another takes nothing from it."""
        base = self.base(draft)
        for key, option in self.choices().items():
            base.choose(key.removeprefix("override ").removeprefix("/"), option, is_new=not key.startswith("override"))
        return Derived(base.defaults, base.values | self.values)

    def text(self) -> str:
        """The file."""
        from omegaconf import OmegaConf

        body: Json = {"defaults": self.defaults}
        for path, value in self.values.items():
            node = body
            for part in path[:-1]:
                node = node.setdefault(part, {})
            node[path[-1]] = value
        said = f"{MARK}, anew each time: what a run was trained with besides the task that this one starts from."
        # OmegaConf's own form, because it quotes the text '1e-3', which PyYAML does not.
        return f"# @package _global_\n{said}\n{OmegaConf.to_yaml(OmegaConf.create(body))}"

    def choices(self) -> Json:
        """The options of groups in the defaults list."""
        return {key: option for item in self.defaults if isinstance(item, dict) for key, option in item.items()}

    def drop_choices_of(self, base: Derived) -> None:
        """Leave out the options that the base chooses, too."""
        own = {_canonical_group(key): option for key, option in base.choices().items()}
        told = [{key: option} for key, option in self.choices().items() if own.get(_canonical_group(key)) == option]
        self.defaults = [item for item in self.defaults if item not in told]

    def choose(self, group: str, option: Any, *, is_new: bool) -> None:
        """Choose a group's option (`model`, `model/x@model.y`), in its own item or else in a new one."""
        for item in self.defaults:
            for key in item if isinstance(item, dict) else ():
                if _canonical_group(key) == _canonical_group(f"/{group}"):
                    item[key] = option
                    return
        # With its place: without it, Hydra does not find the group where the task is mounted in conf/config.yaml.
        package = "_here_" if group == "experiment" else group.replace("/", ".")  # a preset goes over the whole task
        named = group if "@" in group else f"{group}@{package}"
        place = self.defaults.index("_self_") if "_self_" in self.defaults else len(self.defaults)
        self.defaults.insert(place, {f"{'' if is_new else 'override '}/{named}": option})


@dataclass(frozen=True)
class Draft:
    """A copy of `conf/` in which the derived task may say anything.

    Attributes:
        root: The folder that holds the copy.
        task: The option of `conf/task/` that was trained.
        reference: What is adopted, named in messages.
    """

    root: Path
    task: str
    reference: str

    @classmethod
    @contextlib.contextmanager
    def of(cls, root: Path, task: str, reference: str) -> Iterator[Draft]:
        """Copy a project's `conf/`; the copy goes with the block."""
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(root / "conf", Path(folder) / "conf")
            yield cls(Path(folder), task, reference)

    def file(self, option: str) -> Path:
        """The copy's file of a task."""
        return self.root / "conf/task" / f"{option}.yaml"

    def compose(self, option: str, overrides: Sequence[Override], otherwise: str, *, is_whole: bool = True) -> Json:
        """Compose a task, checking its targets' keys if `is_whole`; an error begins with `otherwise`."""
        from flywheel.learner.task_check import check_task
        from flywheel.project.compose import compose_task

        if any(one.is_delete() for one in overrides):  # Hydra takes away only what is there
            kept = [one for one in overrides if not one.is_delete()]
            rest = self.compose(option, kept, otherwise, is_whole=False)
            overrides = [one for one in overrides if not one.is_delete() or _at(rest, path_of(one)) is not _MISSING]
        with self.saying(otherwise):
            words = [f"task={option}", *map(self._word, overrides)]
            return compose_task(self.root, words, check=check_task if is_whole else None)

    def tried(self, option: str, derived: Derived, otherwise: str) -> Json:
        """Compose what a derived task would be, which is then in the draft."""
        self.file(option).write_bytes(derived.text().encode())
        return self.compose(option, [], otherwise)

    def says(self, option: str, target: Json) -> bool:
        """Whether a task composes to something already."""
        with contextlib.suppress(ConfigError):
            return not differing(target, self.compose(option, [], ""), ("", ""))
        return False

    def is_group(self, override: Override) -> bool:
        """Whether an override chooses an option of a group, as Hydra tells it."""
        return (self.root / "conf" / override.key_or_group).is_dir() and not isinstance(override.value(), dict)

    def _word(self, override: Override) -> str:
        # `++key=value` works also where an adopted task has the key by now.
        added = override.is_add() and not self.is_group(override)
        return ("+" if added else "") + str(override.input_line)

    @contextlib.contextmanager
    def saying(self, what: str) -> Iterator[None]:
        """Name the winner and its overrides in an error."""
        try:
            yield
        except ConfigError as error:
            raise ConfigError(f"{what}: {error}", where=self.reference) from None


def parsed(words: Sequence[str], reference: str) -> list[Override]:
    """Those overrides that say what is trained.

    Raises:
        ConfigError: One cannot be read, or stands for many values.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        found = OverridesParser.create().parse_overrides(list(words))
    except HydraException as error:
        raise ConfigError(f"its overrides cannot be read: {str(error).splitlines()[0]}", where=reference) from None
    swept = [one.input_line for one in found if one.is_sweep_override()]
    if swept:
        raise ConfigError(f"'{swept[0]}' is many values", where=reference, fix="name one of its trials")
    return [one for one in found if not NOT_TRAINED.match(one.key_or_group)]


def derive(draft: Draft, overrides: Sequence[Override]) -> tuple[str, Json]:
    """Write a task into the draft that starts from the trained one and has the overrides in it.

    Args:
        draft: The copy of `conf/` to write into.
        overrides: Output of `parsed`.

    Returns:
        The option of `conf/task/` that says it (the trained one where that does already, or where an adoption wrote
        it), and what it composes to: the very same as the trained one with the overrides.

    Raises:
        ConfigError: No file can say it.
    """
    target = draft.compose(draft.task, overrides, "does not compose with conf/ as it is")
    if draft.says(draft.task, target):
        return draft.task, target
    is_again = MARK in draft.file(draft.task).read_text(encoding="utf-8")
    option = draft.task if is_again else f"{draft.task}_adopted"
    if draft.file(option).is_file() and MARK not in draft.file(option).read_text(encoding="utf-8"):
        raise ConfigError("is a task of your own", where=f"conf/task/{option}.yaml", fix="give it another name")
    made = Derived.read(draft.file(draft.task)) if is_again else Derived([f"{draft.task}@_here_", "_self_"])
    cannot = f"conf/task/{option}.yaml cannot say it"
    values = [one for one in overrides if not draft.is_group(one)]
    with draft.saying(cannot):
        for one in overrides:
            if one not in values:
                if one.is_delete():
                    raise ConfigError(f"'{one.input_line}' removes a whole group", fix="remove it by hand")
                made.choose(one.get_key_element().lstrip("+"), one.value(), is_new=one.is_add())
    base, gone = made.base(draft), [path_of(one) for one in values if one.is_delete()]
    made.drop_choices_of(base)
    if any(path[: len(key)] == key for key in gone for path in base.values):
        made = made.repeating(draft)
    assigned = _assignments(made.values, values, target)
    made.values = {path: value for path, value in assigned.items() if not any(path[: len(k)] == k for k in gone)}
    known: Json = {}
    with contextlib.suppress(ConfigError):  # groups may not compose without the values: then all of these are set
        known = draft.tried(option, Derived(made.defaults), cannot)
    made.values = {key: value for key, value in made.values.items() if canonical(_at(known, key)) != canonical(value)}
    if found := differing(target, draft.tried(option, made, cannot), ("the run", "the file")):
        raise ConfigError(f"{cannot}: {told(found)}", where=draft.reference, fix="write it into conf/ by hand")
    return option, target


def _assignments(before: dict[Key, Any], values: Sequence[Override], target: Json) -> dict[Key, Any]:
    """The values to set, by key, as plain data; the last one for each key."""
    found = dict(before)
    for one in values:
        for path, value in [] if one.is_delete() else _leaves(path_of(one), one.value()):
            for depth in range(1, len(path)):
                if isinstance(inside := _at(target, path[:depth]), list):  # YAML sets a list as a whole
                    path, value = path[:depth], inside
                    break
            for other in [known for known in found if known[: len(path)] == path or path[: len(known)] == known]:
                del found[other]
            found[path] = value
    return found


def _leaves(path: Key, value: Any) -> Iterator[tuple[Key, Any]]:
    """A mapping's values one by one: Hydra adds them to those that are there."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves((*path, str(key)), inner)
    else:
        yield path, value


def path_of(override: Override) -> Key:
    """The parts of an override's key."""
    return tuple(override.key_or_group.split("."))


def _at(node: Any, path: Sequence[str]) -> Any:
    for part in path:
        node = node.get(part, _MISSING) if isinstance(node, dict) else _MISSING
    return node


def canonical(value: Any) -> str:
    """A text that differs for 1, 1.0, '1' and true, whatever the order of keys."""
    return "missing" if value is _MISSING else json.dumps(value, sort_keys=True)


def differing(first: Json, second: Json, names: tuple[str, str]) -> list[str]:
    """The keys in which two compositions differ, with both values, called by these names."""
    from flywheel.project.flatten import flatten

    flat = [flatten(first), flatten(second)]
    pairs = [(key, [one.get(key, _MISSING) for one in flat]) for key in {**flat[0], **flat[1]}]
    return [
        f"{key} ({', '.join(f'{name} {_shown(value)}' for name, value in zip(names, both, strict=True))})"
        for key, both in pairs
        if canonical(both[0]) != canonical(both[1])
    ]


def told(found: Sequence[str]) -> str:
    """The first few differences, for messages."""
    more = f" and {len(found) - MAX_TOLD} more" if len(found) > MAX_TOLD else ""
    return ", ".join(found[:MAX_TOLD]) + more


def _shown(value: Any) -> str:
    text = "has none" if value is _MISSING else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _canonical_group(key: str) -> str:
    """`override /model/x@model.x` -> `model/x`; a place that is not the group's own stays."""
    name = key.split()[-1]
    name = name[1:] if name.startswith("/") else f"task/{name}"
    group, _, place = name.partition("@")
    own = "_here_" if group == "experiment" else group.replace("/", ".")
    return group if place in ("", own) else name

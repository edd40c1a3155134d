"""A task's file rewritten: it composes alone to what it composed to with overrides. Tried on a copy of `conf/`."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.command.task_file import with_choice, with_value, without
from flywheel.project.errors import ConfigError
from flywheel.project.types import Json

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

MAX_TOLD = 6
NOT_TRAINED = ("task", "sweep", "hydra")  # overrides that say where, how it was searched, how it was run
_MISSING = object()
Key = tuple[str, ...]


@dataclass(frozen=True)
class Draft:
    """A copy of `conf/` in which the task's file may say anything.

    Attributes:
        root: The folder that holds the copy.
        task: The option of `conf/task/`.
        reference: What is adopted, for messages.
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

    def compose(self, text: str, overrides: Sequence[Override], otherwise: str) -> Json:
        """Compose the task from a text of its file; an error begins with `otherwise`."""
        from flywheel.learner.task_check import check_task
        from flywheel.project.compose import compose_task

        if any(one.is_delete() for one in overrides):  # Hydra takes away only what is there
            rest = self.compose(text, [one for one in overrides if not one.is_delete()], otherwise)
            overrides = [one for one in overrides if not one.is_delete() or _at(rest, path_of(one)) is not _MISSING]
        (self.root / "conf/task" / f"{self.task}.yaml").write_bytes(text.encode())
        with self.saying(otherwise):
            return compose_task(self.root, [f"task={self.task}", *map(self._word, overrides)], check=check_task)

    def is_group(self, override: Override) -> bool:
        """Whether an override chooses an option of a group, as Hydra tells it."""
        return (self.root / "conf" / override.key_or_group).is_dir() and not isinstance(override.value(), dict)

    def _word(self, override: Override) -> str:
        # `++key=value` works also where the file has the key by now.
        added = override.is_add() and not self.is_group(override)
        return ("+" if added else "") + str(override.input_line)

    @contextlib.contextmanager
    def saying(self, what: str) -> Iterator[None]:
        """Name the winner, and what was tried, in an error."""
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
    return [one for one in found if re.split(r"[./@]", one.key_or_group)[0] not in NOT_TRAINED]


def rewritten(draft: Draft, before: str, overrides: Sequence[Override]) -> tuple[str, Json]:
    """Put overrides into the task's file.

    Args:
        draft: Where it is tried.
        before: The file's text.
        overrides: As `parsed` gives them.

    Returns:
        The new text, and what it composes to: the very same as the old one with the overrides.

    Raises:
        ConfigError: The file cannot say it.
    """
    cannot, text = f"conf/task/{draft.task}.yaml cannot say it", before
    values = [one for one in overrides if not draft.is_group(one)]
    target = draft.compose(before, overrides, "does not compose with conf/ as it is")
    with draft.saying(cannot):
        for one in overrides:
            if one not in values:
                if one.is_delete():
                    raise ConfigError(f"'{one.input_line}' takes a whole group away", fix="take it out by hand")
                text = with_choice(text, one.get_key_element().lstrip("+"), one.value(), is_new=one.is_add())
        known: Json = {}
        with contextlib.suppress(ConfigError):  # groups may not compose without the values: then all of these are set
            known = draft.compose(text, [], "")
        for path, (value, literal) in _assignments(values, target).items():
            if canonical(_at(known, path)) != canonical(value):
                text = with_value(text, path, value, literal)
        for one in values:
            if one.is_delete() and _at(known, path_of(one)) is not _MISSING:
                text = without(text, path_of(one))
    made = draft.compose(text, [], cannot)
    if found := differing(target, made, ("the run", "the file")):
        raise ConfigError(f"{cannot}: {told(found)}", where=draft.reference, fix="write it into conf/ by hand")
    return text, target


def _assignments(values: Sequence[Override], target: Json) -> dict[Key, tuple[Any, str | None]]:
    """What is to be set, key by key, as plain data and as typed; of two that concern one key, the later."""
    found: dict[Key, tuple[Any, str | None]] = {}
    for one in values:
        for path, value in [] if one.is_delete() else _leaves(path_of(one), one.value()):
            literal: str | None = one.get_value_string().strip()
            for depth in range(1, len(path)):
                if isinstance(inside := _at(target, path[:depth]), list):  # YAML sets a list as a whole
                    path, value, literal = path[:depth], inside, None
                    break
            for other in [known for known in found if known[: len(path)] == path or path[: len(known)] == known]:
                del found[other]
            found[path] = (value, literal)
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
    """A text that tells 1, 1.0, '1' and true apart, and no order of keys."""
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
    """The first few of what differs."""
    more = f" and {len(found) - MAX_TOLD} more" if len(found) > MAX_TOLD else ""
    return ", ".join(found[:MAX_TOLD]) + more


def _shown(value: Any) -> str:
    text = "has none" if value is _MISSING else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

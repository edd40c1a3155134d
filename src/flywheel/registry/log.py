"""The log of every promotion, refusal and rollback: one JSON line each, never changed again.

It lies in `.flywheel/registry/<task>.jsonl`; each event is also a tag of the version it is about, so that a machine
that shares the MLflow store, but not the folder, knows the history as well.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from flywheel.project.errors import RegistryError
from flywheel.project.params import state_dir

Action = Literal["promoted", "refused", "rolled back"]
TAG = "flywheel.log."


@dataclass(frozen=True)
class Event:
    """One line of the log.

    Attributes:
        time: Time in UTC, ISO 8601.
        actor: The actor, as user@machine.
        action: Name of the event.
        before: The champion's version before; None: there was none.
        after: The champion's version afterwards; for a refusal, the version that was refused.
        model_sha256: The sha256 of the weights of `after`.
        why: The reason, for people.
        by_hand: Whether a person promoted it, whatever the gate says.
    """

    time: str
    actor: str
    action: Action
    before: int | None
    after: int
    model_sha256: str
    why: str
    by_hand: bool = False

    def to_line(self) -> str:
        """One line of JSON."""
        told = {"from" if key == "before" else "to" if key == "after" else key: v for key, v in asdict(self).items()}
        if not self.by_hand:
            del told["by_hand"]
        return json.dumps(told, ensure_ascii=False)


def event(
    action: Action, *, before: int | None, after: int, model_sha256: str, why: str, by_hand: bool = False
) -> Event:
    """Make an event of this moment and this user."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return Event(now, actor(), action, before, after, model_sha256, why, by_hand)


def actor() -> str:
    """Who runs this process, as user@machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user}@{os.uname().nodename}" if hasattr(os, "uname") else user


def log_file(task: str) -> Path:
    """Where a task's log lies."""
    return state_dir() / "registry" / f"{task}.jsonl"


def append(task: str, entry: Event) -> None:
    """Add one line, in one write, and see it to the disk."""
    file = log_file(task)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, f"{entry.to_line()}\n".encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def read(task: str, mirrored: Iterable[str] = ()) -> list[Event]:
    """Give all events in order, those of the file and those that only `mirrored` lines (tags) know.

    Raises:
        RegistryError: A line is damaged.
    """
    file = log_file(task)
    lines = file.read_text().splitlines() if file.is_file() else []
    events = {_event(line, f"{file}, line {number}") for number, line in enumerate(lines, 1) if line.strip()}
    events |= {_event(line, f"tags of {task}") for line in mirrored}
    return sorted(events, key=lambda entry: entry.time)


def _event(line: str, where: str) -> Event:
    try:
        told = json.loads(line)
        return Event(before=told.pop("from"), after=told.pop("to"), **told)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RegistryError(f"no event of the log: {error}", where=where, fix="restore or remove the line") from None


def champions(events: Iterable[Event]) -> list[int]:
    """The champions one after the other, as a stack: a promotion adds one, a rollback takes the last one away."""
    return [number for number, _ in _stack(events)]


def measures(events: Iterable[Event]) -> list[int]:
    """The champions that a new model is measured by, the latest last.

    A person who promotes by hand sets a new measure: what was champion before may be better on the test set, and was
    given up all the same. What was rolled back is none either.
    """
    stack = _stack(events)
    start = max((place for place, (_, by_hand) in enumerate(stack) if by_hand), default=0)
    return [number for number, _ in stack[start:]]


def _stack(events: Iterable[Event]) -> list[tuple[int, bool]]:
    """Each champion's version, and whether a person promoted it."""
    stack: list[tuple[int, bool]] = []
    for entry in events:
        if entry.action == "promoted":
            if not stack and entry.before is not None:
                stack.append((entry.before, False))
            if not stack or stack[-1][0] != entry.after:
                stack.append((entry.after, entry.by_hand))
        elif entry.action == "rolled back":
            while stack and stack[-1][0] != entry.after:
                stack.pop()
            if not stack:
                stack.append((entry.after, False))
    return stack


def was_rolled_back(events: Iterable[Event], version: int) -> bool:
    """Whether a person rolled the version back, and it has not been promoted since."""
    found = False
    for entry in events:
        if entry.action == "rolled back" and entry.before == version:
            found = True
        elif entry.action in ("promoted", "rolled back") and entry.after == version:
            found = False
    return found

"""The loop's journal: every decision, start and end, one JSON line each, in `.flywheel/loop/<task>.jsonl`."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from flywheel.project.errors import DataError
from flywheel.project.types import Json

log = logging.getLogger("flywheel")

State = Literal["decided", "started", "running", "ended"]
Outcome = Literal["", "promoted", "refused", "unchanged", "failed", "interrupted", "rolled back"]


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        time: Time in UTC, ISO 8601.
        action: `wait`, `retrain` or `rollback`.
        state: `decided` (and nothing begun), `started`, `running` (with a pid), or `ended`.
        why: The reason, for people.
        outcome: Outcome of an action that has ended.
        old_version: The champion before the action.
        new_version: The champion afterwards; of a refusal, the version that was refused.
        figures: Figures that the decision is based on.
        ran: Commands that were run.
        log: The file with what they said.
        pid: The process ID of the command that is running.
    """

    time: str
    action: str
    state: State
    why: str
    outcome: Outcome = ""
    old_version: int | None = None
    new_version: int | None = None
    figures: Json = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    log: str = ""
    pid: int | None = None

    @property
    def when(self) -> datetime:
        """The time."""
        return datetime.fromisoformat(self.time)


def now() -> str:
    """This moment, as entries have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Journal:
    """A task's journal.

    Args:
        file: The journal's file; it need not exist yet.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, entry: Entry) -> None:
        """Add a line and see it to the disk; what a kill left of a line before stays a line of its own."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            line = json.dumps({key: value for key, value in asdict(entry).items() if value or key in _ALWAYS})
            os.write(handle, (b"\n" if torn else b"") + line.encode() + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)

    def read(self) -> list[Entry]:
        """All entries, the oldest first; a line that a kill has torn is left out.

        Raises:
            DataError: A line is whole, but no entry.
        """
        if not self.file.is_file():
            return []
        found = []
        for number, line in enumerate(self.file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            try:
                told = json.loads(line)
            except ValueError:
                if line.strip():
                    log.warning("loop: %s, line %d is incomplete and is left out", self.file, number)
                continue
            found.append(self._entry(told, number))
        return found

    def _entry(self, told: object, number: int) -> Entry:
        known = {item.name for item in fields(Entry)}
        if not isinstance(told, dict) or not set(_ALWAYS) <= told.keys() <= known:
            raise DataError(self.file, number, "is not an entry of the loop", fix="restore or remove the line")
        try:
            entry = Entry(**told)
            if entry.when.tzinfo is None:
                raise ValueError("a time without a zone")
        except (TypeError, ValueError) as error:
            raise DataError(self.file, number, f"is not an entry of the loop: {error}", fix="remove the line") from None
        return entry


_ALWAYS = ("time", "action", "state", "why")

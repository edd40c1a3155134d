"""The one exception family: every bad input ends in one line that says what, where and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class FlywheelError(Exception):
    """Something the user can fix; the command line prints it as one line and exits with 2.

    Args:
        what: What is wrong, without a full stop.
        where: The file, key, URI or row concerned.
        fix: What to do about it, as an imperative.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, fix: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix
        parts = [f"{self.where}: {what}" if self.where else what]
        if fix:
            parts.append(fix)
        super().__init__("; ".join(part.rstrip(".") for part in parts))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes whole: a subclass's arguments are not those of `Exception`."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[FlywheelError], args: tuple[Any, ...], held: dict[str, Any]) -> FlywheelError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(held)
    return error


class ConfigError(FlywheelError):
    """A key, group or value of `conf/` or `params.yaml` is not one that exists or can be used."""


class StoreError(ConfigError):
    """MLflow's store, or the database of studies, does not answer: what was done so far is kept, to go on with."""


class SourceError(FlywheelError):
    """A data set's source cannot give its files: not reachable, tool missing, or not there."""


class ChecksumError(SourceError):
    """Bytes arrived, but not the bytes that were promised."""


class DataError(FlywheelError):
    """A row, or a file, of a data set cannot be used.

    Args:
        file: The file the row is in.
        row: The row's number (0-based, as in the file's own order), or None for the whole file.
        why: What is wrong with it.
        fix: What to do about it.
    """

    def __init__(self, file: str | Path, row: int | None, why: str, *, fix: str | None = None) -> None:
        self.file, self.row, self.why = str(file), row, why
        where = self.file if row is None else f"{self.file}, row {row}"
        super().__init__(why, where=where, fix=fix)


class ModelError(FlywheelError):
    """A saved model cannot be rebuilt, or does not fit the data it is given."""


class RankError(FlywheelError):
    """One of several processes that train together has ended, or cannot be reached."""


class RegistryError(FlywheelError):
    """The registry lacks what was asked of it, or refuses it."""


class FeedbackError(FlywheelError):
    """The feedback store cannot be opened, is of a newer version, or refuses what was asked of it."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Say which valid word a mistyped one is likely to mean.

    Returns:
        `did you mean 'x'?`, or the list of valid words where none is near.
    """
    known = sorted(str(choice) for choice in choices)
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if match:
        return f"did you mean '{match[0]}'?"
    return f"valid: {', '.join(known) or 'none'}"

"""Databases named by a URL: chooses the driver, hides the password, and guards the making of tables."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from urllib.parse import quote, unquote

from flywheel.project.errors import ConfigError
from flywheel.project.params import state_dir

_PLAIN = re.compile(r"^postgres(ql)?://")
# `user:password@`: to the last @ of a server's part, or else (a password may hold a slash) to the first at all.
_PASSWORD = re.compile(r"(?<=://)([^:/?#@\s]*):(?:[^/?#\s]*@|[^@\s]*@)")
_QUERY = re.compile(r"([?&])((?:\w*password|passwd|pwd)=)[^&\s'\"]*", re.IGNORECASE)
_SQLITE = re.compile(r"^sqlite(?:\+\w+)?:///([^?]*)")
_LOCK = 6_070_221_503_971_125  # any number, the same on all machines
_WAIT_MS = 600_000


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl+C back until the block has ended; a second one is not held.

    In the middle of a transaction it would leave the database locked, and then nothing can be recorded of what was
    interrupted. Does nothing outside the main thread, or where something else listens to the signal.
    """
    usual = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if came:
            usual(number, frame)
        came = True

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if came:
            raise KeyboardInterrupt


def with_driver(url: str) -> str:
    """Name the driver of a plain `postgresql://` (or `postgres://`): psycopg 3, whatever SQLAlchemy would take."""
    return _PLAIN.sub("postgresql+psycopg://", url)


def masked(text: str) -> str:
    """Hide the passwords of all URLs in a text."""
    return _QUERY.sub(r"\1\2***", _PASSWORD.sub(r"\1:***@", text))


def without_password(url: str) -> str:
    """A URL without its password: it may be written to a file."""
    bare = _QUERY.sub(r"\1", _PASSWORD.sub(r"\1@", url))
    return re.sub(r"&{2,}", "&", bare).replace("?&", "?").rstrip("?&")


def is_database(url: str) -> bool:
    """Whether a URL is one of SQLAlchemy's, and not that of a tracking server."""
    return url.startswith(("sqlite", "postgres", "mysql", "mssql"))


def sqlite_url(file: Path) -> str:
    """The address of a SQLite file, whatever its folders are called: `%`, `?` and `#` mean something else in a URL.

    SQLAlchemy (from 2.1), and so MLflow and Optuna, take it back to the same path. Where it is quoted it names its
    driver too: MLflow makes the folder of a plain `sqlite:///` address, and would make one of the quoted name.
    """
    quoted = quote(str(file), safe=" +/")
    return f"sqlite:///{quoted}" if quoted == str(file) else f"sqlite+pysqlite:///{quoted}"


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite address; None for a database on a server, or one in memory."""
    found = _SQLITE.match(url)
    path = unquote(found[1]) if found else ""
    return Path(path) if path not in ("", ":memory:") else None


def first_line(error: BaseException) -> str:
    """What an error says in its first line, without passwords, SQLAlchemy's advice or the driver's class."""
    text = re.sub(r"^\(raised as a result of [^)]*\)\s*", "", str(error).strip()) or type(error).__name__
    return masked(re.sub(r"^\([\w.]+\)\s*", "", text.splitlines()[0]))[:300]


@contextlib.contextmanager
def one_at_a_time(url: str, name: str, *, not_beside: str) -> Iterator[None]:
    """Let one process at a time open a database: those that make its tables at the same time fail.

    With PostgreSQL the lock is the server's own, because the others may be on other machines; it ends with the
    connection, so that a killed process holds nothing. Elsewhere it is a file's.

    Args:
        url: The URL of the database, with its driver; that of a tracking server needs no lock.
        name: The name of the lock's file.
        not_beside: A table of another program, which cannot share a database with this one: both keep a version in
            the same table.

    Raises:
        ConfigError: That table is there.
        sqlalchemy.exc.SQLAlchemyError: The database cannot be reached.
        ImportError: The driver is not installed.
    """
    if url.startswith("postgresql"):
        with _held_by_server(url, not_beside):
            yield
    elif is_database(url):
        from filelock import FileLock

        state_dir().mkdir(parents=True, exist_ok=True)
        with FileLock(state_dir() / f"{name}.lock"):
            yield
    else:
        yield


@contextlib.contextmanager
def _held_by_server(url: str, not_beside: str) -> Iterator[None]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool, connect_args={"connect_timeout": 20})
    with engine.connect() as connection:
        connection.execute(text(f"SET lock_timeout = {_WAIT_MS}"))
        connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": _LOCK})
        if connection.execute(text("SELECT to_regclass(:name)"), {"name": not_beside}).scalar() is not None:
            what = f"the database holds another program's tables ({not_beside})"
            raise ConfigError(what, where=without_password(url), fix="give MLflow and the studies a database each")
        yield  # closing the connection gives the lock back

"""Opens the feedback store's database, and creates its tables once, completely, whichever process is first.

SQLite runs with a write-ahead log that is seen to the disk at every commit; PostgreSQL does so by itself. A database
says which version of the tables it has; one of a newer version is not touched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from flywheel.feedback.tables import SCHEMA, facts, metadata, migrate
from flywheel.project.database import first_line, sqlite_url, with_driver
from flywheel.project.errors import FeedbackError
from flywheel.project.params import state_dir

URL_VARIABLE = "FLYWHEEL_FEEDBACK_URL"
BUSY_SECONDS = 30
CONNECT_SECONDS = 10
"""Timeout of a server that accepts a connection and does not answer: without it, a request would wait for ever."""
_MAKING, _DELETING, _SAYING = 0x666C7977, 0x666C7978, 0x666C7979  # numbers of PostgreSQL's advisory locks
_CHECK = "check FLYWHEEL_FEEDBACK_URL, or unset it"


def default_url() -> str:
    """`FLYWHEEL_FEEDBACK_URL`, or `.flywheel/feedback/feedback.db` of the main checkout."""
    return os.environ.get(URL_VARIABLE) or sqlite_url(state_dir() / "feedback" / "feedback.db")


class Database:
    """An open database.

    Args:
        url: An SQLAlchemy URL: `sqlite:///path` or `postgresql+psycopg://user:word@host/name`.

    Raises:
        FeedbackError: It cannot be opened or made, or its tables are of a newer version.
    """

    def __init__(self, url: str) -> None:
        try:
            self.url = _known(sa.make_url(with_driver(url)))
            self._engine = _engine(self.url)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            what = f"is not the address of a usable database ({first_line(error)})"
            raise FeedbackError(what, where=_hidden(url), fix=_CHECK) from None
        self.where = self.url.render_as_string(hide_password=True)
        self._pid = os.getpid()
        self._close = weakref.finalize(self, _close, self._engine, self._pid)
        with self.explained():
            self._prepare()

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for a server."""
        return Path(self.url.database) if self.url.get_backend_name() == "sqlite" and self.url.database else None

    @contextlib.contextmanager
    def write(self, *, deletes: bool = False) -> Iterator[sa.Connection]:
        """One transaction that writes; when it has ended well, its rows are on the disk.

        Those that delete run alone, so that no input's file goes while somebody refers to it anew.

        Raises:
            FeedbackError: The database cannot be written to.
        """
        with self.explained(), self._own().execution_options(writes=True).begin() as connection:
            if self.file is None:  # SQLite lets one write at a time anyway
                lock = sa.func.pg_advisory_xact_lock if deletes else sa.func.pg_advisory_xact_lock_shared
                connection.execute(sa.select(lock(_DELETING)))
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One transaction that reads, all of it from the same state.

        Raises:
            FeedbackError: The database cannot be read.
        """
        with self.explained(), self._own().connect() as connection:
            yield connection

    def take_turn(self, connection: sa.Connection) -> None:
        """Wait until no other transaction adds feedback, so that a comparison sees all of it."""
        if self.file is None:  # SQLite lets one write at a time anyway
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SAYING)))

    def insert_new(self, connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]], key: str) -> set[str]:
        """Insert rows whose `key` is not there yet.

        Returns:
            The keys that were new.
        """
        if not rows:
            return set()
        insert = postgresql.insert if self.url.get_backend_name() == "postgresql" else sqlite.insert
        statement = insert(table).on_conflict_do_nothing(index_elements=[key]).returning(table.c[key])
        ordered = sorted(rows, key=lambda row: str(row[key]))  # two that insert the same rows must not wait in a ring
        return {str(row[0]) for row in connection.execute(statement, ordered)}

    def fact(self, key: str) -> str | None:
        """One of `facts`; None where it is not set."""
        with self.read() as connection:
            return connection.execute(sa.select(facts.c.value).where(facts.c.key == key)).scalar()

    def set_fact(self, key: str, value: str) -> str:
        """Set one of `facts` unless another process has; give what it is now."""
        with self.write() as connection:
            self.insert_new(connection, facts, [{"key": key, "value": value}], "key")
            return str(connection.execute(sa.select(facts.c.value).where(facts.c.key == key)).scalar_one())

    def write_something(self, connection: sa.Connection) -> None:
        """Write a dummy value, so that the transaction fails if the database cannot be written to."""
        row = {"key": "written", "value": secrets.token_hex(8)}
        if not connection.execute(sa.update(facts).where(facts.c.key == row["key"]).values(row)).rowcount:
            self.insert_new(connection, facts, [row], "key")

    def compact(self) -> None:
        """Let nothing of deleted rows stay in SQLite's log; PostgreSQL's own housekeeping sees to its pages."""
        if self.file is not None:
            with self.explained(), self._own().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn a database's error into one line.

        Raises:
            FeedbackError: Instead of SQLAlchemy's own error.
        """
        try:
            yield
        except SQLAlchemyError as error:
            why = first_line(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error)
            fix = "free some space or fix the permissions" if self.file else "check that the server runs, and its URL"
            raise FeedbackError(f"the feedback store cannot be used: {why}", where=self.where, fix=fix) from error

    def _own(self) -> sa.Engine:
        """The engine, with connections of this process: a fork must not share its parent's."""
        if self._pid != os.getpid():
            self._engine.dispose(close=False)
            self._pid = os.getpid()
            self._close = weakref.finalize(self, _close, self._engine, self._pid)
        return self._engine

    def _prepare(self) -> None:
        """Make the tables where there are none, one process at a time; refuse those of a newer version."""
        with self._first_use():
            version = self._version()
            if version is None:
                with self._engine.execution_options(writes=True).begin() as connection:
                    if self.file is None:
                        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MAKING)))
                    metadata.create_all(connection)
                    made = [{"key": "schema", "value": str(SCHEMA)}, {"key": "salt", "value": secrets.token_hex(32)}]
                    self.insert_new(connection, facts, made, "key")
                version = self._version()
            if version == 1:
                with self._engine.execution_options(writes=True).begin() as connection:
                    migrate(connection, _MAKING)
                version = self._version()
        if version is None or version > SCHEMA:
            what = f"was written by a newer Flywheel (version {version} of its tables, this one knows {SCHEMA})"
            raise FeedbackError(what, where=self.where, fix="update Flywheel, or use another database")

    def _first_use(self) -> contextlib.AbstractContextManager[Any]:
        if self.file is None:
            return contextlib.nullcontext()
        from filelock import FileLock

        self.file.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.file.with_name(f"{self.file.name}.lock"))

    def _version(self) -> int | None:
        """The version of the tables; None where there are none."""
        with self._engine.connect() as connection:
            if not sa.inspect(connection).has_table(facts.name):
                return None
            found = connection.execute(sa.select(facts.c.value).where(facts.c.key == "schema")).scalar()
            return int(found) if found is not None else None


def _close(engine: sa.Engine, pid: int) -> None:
    """Close the connections of a database that nobody holds any more; never those of a process before a fork."""
    if pid == os.getpid():
        engine.dispose()


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ArgumentError("a database in memory keeps nothing")
        engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})
        sa.event.listen(engine, "connect", _set_up_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    patience = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
    engine = sa.create_engine(url, pool_pre_ping=True, connect_args=patience)
    sa.event.listen(engine, "connect", _set_up_server)
    return engine


def _set_up_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_SECONDS * 1000}", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    """A transaction that writes takes its turn at once: one that begins by reading could not wait for others later."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _set_up_server(connection: Any, _: Any) -> None:
    """A commit returns when it is on the server's disk, whatever its default is."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit TO on")
    connection.commit()


def _known(url: sa.URL) -> sa.URL:
    """Refuse a database that the store has not been made for."""
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ArgumentError(f"{url.get_backend_name()} is neither sqlite nor postgresql")
    return url


def _hidden(url: str) -> str:
    """An address without what stands before its @, which may be a password."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"

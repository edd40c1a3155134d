"""Opens the database of a sweep's studies, and protects its password.

Samplers and pruners read it from every worker. A password goes through the environment only (`FLYWHEEL_SWEEP_STORAGE`,
or libpq's `PGPASSFILE`): Hydra writes what it is told on the command line into files.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flywheel.project.database import first_line, masked, one_at_a_time, sqlite_url, with_driver, without_password
from flywheel.project.errors import ConfigError, StoreError
from flywheel.project.params import state_dir

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

STORAGE = "FLYWHEEL_SWEEP_STORAGE"
_WORD = re.compile(r"^(\+{0,2}sweep\.storage=)(['\"]?)(.*?)\2$", re.DOTALL)


def storage_url(url: str | None) -> str:
    """The URL of the studies' database, with its password where the environment has it.

    Args:
        url: `sweep.storage`; None: that of the environment, or sqlite in `.flywheel/`.
    """
    known = os.environ.get(STORAGE)
    if known and (not url or with_driver(url) == without_password(with_driver(known))):
        return with_driver(known)
    return with_driver(url) if url else sqlite_url(state_dir() / "studies.db")


def password_taken_out(words: Sequence[str]) -> list[str]:
    """Move the password of `sweep.storage=` from the command line to the environment, where workers find it.

    Args:
        words: The command line, as typed.
    """
    kept = []
    for word in words:
        found = _WORD.match(word)
        if found and (bare := without_password(found[3])) != found[3]:
            os.environ[STORAGE] = found[3]
            word = f"{found[1]}{found[2]}{bare}{found[2]}"
        kept.append(word)
    return kept


def refuse_password(url: str | None) -> None:
    """Refuse a password in a file of `conf/`.

    Raises:
        ConfigError: There is one.
    """
    if url and without_password(url) != url:
        fix = f"leave it out there, and set {STORAGE} to the whole URL, or use ~/.pgpass"
        raise ConfigError("a password does not belong in a file", where="sweep.storage", fix=fix)


def open_storage(url: str | None) -> BaseStorage:
    """Open the database of studies, making it first where there is none.

    Args:
        url: SQLAlchemy URL; None: sqlite in `.flywheel/`.

    Raises:
        StoreError: It cannot be reached or opened.
    """
    from alembic.util.exc import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    optuna, whole = quiet_optuna(), storage_url(url)
    state_dir().mkdir(parents=True, exist_ok=True)
    # A waiting writer is not an error.
    options = {"connect_args": {"timeout": 60}} if whole.startswith("sqlite") else {}
    try:
        with one_at_a_time(whole, "studies", not_beside="experiments"):
            made: BaseStorage = optuna.storages.RDBStorage(whole, engine_kwargs={"pool_pre_ping": True, **options})
            return made
    except (SQLAlchemyError, CommandError, ImportError, ValueError, RuntimeError) as error:
        fix = "check the URL and its driver, or leave it out"
        if isinstance(error, ImportError):
            fix = "pip install 'flywheel[postgres]', or the driver that the URL names"
        what = f"the studies' database cannot be opened: {first_line(error)}"
        raise StoreError(what, where=f"sweep.storage ({masked(whole)})", fix=fix) from None


@contextlib.contextmanager
def studies_must_work(url: str | None) -> Iterator[None]:
    """Turn a database that fails in the middle of a sweep into one line.

    Args:
        url: URL as for `open_storage`.

    Raises:
        StoreError: Instead of Optuna's own error.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, quiet_optuna().exceptions.StorageInternalError) as error:
        what = f"the studies' database cannot be used: {first_line(error.__cause__ or error)}"
        where = f"sweep.storage ({masked(storage_url(url))})"
        raise StoreError(what, where=where, fix="see that it runs and has room") from error


def quiet_optuna() -> Any:
    """The library, without what it logs."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    return optuna

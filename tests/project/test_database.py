from pathlib import Path

import pytest

from flywheel.project.database import (
    first_line,
    is_database,
    masked,
    sqlite_file,
    sqlite_url,
    with_driver,
    without_password,
)  # fmt: skip


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("postgresql://me@host/db", "postgresql+psycopg://me@host/db"),
        ("postgres://me@host/db", "postgresql+psycopg://me@host/db"),
        ("postgresql+psycopg2://me@host/db", "postgresql+psycopg2://me@host/db"),
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
        ("http://host:5000", "http://host:5000"),
    ],
)
def test_a_plain_address_means_psycopg(url: str, meant: str) -> None:
    assert with_driver(url) == meant


@pytest.mark.parametrize(
    ("url", "shown", "kept"),
    [
        ("postgresql://me:secret@host:5432/db", "postgresql://me:***@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://me:sec/ret@host/db", "postgresql://me:***@host/db", "postgresql://me@host/db"),
        ("postgresql://me:sec@ret@host/db", "postgresql://me:***@host/db", "postgresql://me@host/db"),
        ("postgresql://:secret@/db?host=/run", "postgresql://:***@/db?host=/run", "postgresql://@/db?host=/run"),
        (
            "postgresql://me@/db?password=secret&host=/run",
            "postgresql://me@/db?password=***&host=/run",
            "postgresql://me@/db?host=/run",
        ),
        (
            "postgresql://me@h/db?host=/run&sslpassword=secret",
            "postgresql://me@h/db?host=/run&sslpassword=***",
            "postgresql://me@h/db?host=/run",
        ),
        ("https://me:secret@host", "https://me:***@host", "https://me@host"),
        ("postgresql://me@host/db", "postgresql://me@host/db", "postgresql://me@host/db"),
        ("http://host:5000", "http://host:5000", "http://host:5000"),
        ("sqlite:////tmp/a:b@c/x.db", "sqlite:////tmp/a:b@c/x.db", "sqlite:////tmp/a:b@c/x.db"),
    ],
)
def test_passwords_are_hidden_and_taken_out(url: str, shown: str, kept: str) -> None:
    assert masked(f"cannot open '{url}' now") == f"cannot open '{shown}' now"
    assert without_password(url) == kept


def test_an_error_is_told_in_a_line_without_passwords() -> None:
    error = ValueError("(psycopg.OperationalError) no such thing as postgresql://me:secret@host/db\n(Background)")
    assert first_line(error) == "no such thing as postgresql://me:***@host/db"
    assert first_line(ValueError()) == "ValueError"
    advice = "(raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block)"
    assert first_line(ValueError(f"{advice}\n(sqlite3.OperationalError) database is locked\n")) == "database is locked"


def test_a_tracking_server_is_no_database() -> None:
    assert is_database("postgresql+psycopg://me@host/db")
    assert is_database("sqlite:///x.db")
    assert not is_database("http://host:5000")


@pytest.mark.parametrize("name", ["p", "p q", "p%q", "p?q", "p%23q", "p#q", "p'q", 'p"q', "pé", "p%", "p+q", "p&q=1;x"])
def test_a_sqlite_file_is_found_again_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    """SQLAlchemy, MLflow and Optuna must open this very file, and make no folder of a quoted name beside it."""
    import optuna
    import sqlalchemy

    folder = tmp_path / name
    folder.mkdir()
    url = sqlite_url(folder / "x.db")
    assert sqlite_file(url) == folder / "x.db"
    assert is_database(url)
    assert masked(url) == url
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (a INTEGER)"))
    engine.dispose()
    storage = optuna.storages.RDBStorage(sqlite_url(folder / "studies.db"))
    storage.engine.dispose()
    assert sorted(file.name for file in folder.iterdir()) == ["studies.db", "x.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("url", ["postgresql+psycopg://me@host/db", "sqlite://", "sqlite:///:memory:", "http://h"])
def test_other_addresses_name_no_file(url: str) -> None:
    assert sqlite_file(url) is None

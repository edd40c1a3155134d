import pytest

from flywheel.database import first_line, is_database, masked, with_driver, without_password


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


def test_a_tracking_server_is_no_database() -> None:
    assert is_database("postgresql+psycopg://me@host/db")
    assert is_database("sqlite:///x.db")
    assert not is_database("http://host:5000")

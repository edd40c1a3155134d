import os

import pytest

from flywheel.project.errors import ConfigError
from flywheel.sweep.search.storage import STORAGE, password_taken_out, refuse_password, storage_url


@pytest.fixture(autouse=True)
def _no_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORAGE, "")  # so that what a test sets is taken back


@pytest.mark.parametrize("quote", ["", "'", '"'])
@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_a_typed_password_moves_to_the_environment(plus: str, quote: str) -> None:
    word = f"{plus}sweep.storage={quote}postgresql://me:secret@host/db?x=y{quote}"
    kept = password_taken_out(["task=digits", word, "sweep.seed=1"])
    assert kept == ["task=digits", f"{plus}sweep.storage={quote}postgresql://me@host/db?x=y{quote}", "sweep.seed=1"]
    assert os.environ[STORAGE] == "postgresql://me:secret@host/db?x=y"
    assert storage_url("postgresql://me@host/db?x=y") == "postgresql+psycopg://me:secret@host/db?x=y"


def test_other_words_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["sweep.storage=postgresql://me@host/db", "sweep.storage=sqlite:///x.db", "sweep.storage=null", "a=b"]
    assert password_taken_out(words) == words
    assert not os.environ[STORAGE]


def test_the_environment_s_password_is_for_its_own_database_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORAGE, "postgresql://me:secret@host/db")
    assert storage_url(None) == "postgresql+psycopg://me:secret@host/db"
    assert storage_url("postgresql://me@other/db") == "postgresql+psycopg://me@other/db"
    assert storage_url("sqlite:///x.db") == "sqlite:///x.db"


def test_a_password_in_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=STORAGE) as error:
        refuse_password("postgresql://me:secret@host/db")
    assert "secret" not in str(error.value)
    refuse_password("postgresql://me@host/db")
    refuse_password(None)

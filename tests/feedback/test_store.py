"""The store keeps what it acknowledged, once, in SQLite and in PostgreSQL, whoever is killed meanwhile."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests import forked
from tests.feedback.conftest import NOON, prediction, word

from flywheel.feedback.store import FeedbackStore
from flywheel.feedback.vault import new_key
from flywheel.project.config_feedback import FeedbackConfig
from flywheel.project.errors import FeedbackError
from flywheel.serving.version.record import Recorded

pytestmark = pytest.mark.xdist_group("postgres")


@pytest.fixture
def store(url: str, tmp_path: Path) -> FeedbackStore:
    return FeedbackStore(url, folder=tmp_path / "inputs")


def outcomes(recorded: list[Recorded]) -> list[str]:
    return [one.outcome for one in recorded]


def test_what_goes_in_comes_out(store: FeedbackStore) -> None:
    given = prediction("p1", {"text": "Grüße \u2603 \0"}, answer={"label": "ü", "probability": 0.5})
    store.record_predictions([given, prediction("p2", None, "other", subject="anna")])
    said = [word("w1", "p1", "ä", correct=False), word("w2", "p1", 2.5, client="bob"), word("w3", "p1", None)]
    assert outcomes(store.record_feedback(said)) == ["stored"] * 3
    assert list(store.predictions("digits")) == [given]
    (other,) = store.predictions("other")
    assert other.input is None
    assert other.subject == store.subject_hash("anna")
    assert [one.feedback for one in store.answered("digits")] == said
    assert [one.prediction for one in store.answered("digits")] == [given] * 3
    assert list(store.answered("other")) == []
    assert store.num_predictions("digits") == 1
    assert store.tasks() == ["digits", "other"]


def test_a_row_recorded_twice_is_kept_once(store: FeedbackStore) -> None:
    first, second = prediction("p1", {"text": "one"}), prediction("p1", {"text": "two"})
    store.record_predictions([first, second])
    store.record_predictions([second])
    assert list(store.predictions("digits")) == [first]
    assert outcomes(store.record_feedback([word("w1", "p1", "a"), word("w1", "p1", "b")])) == ["stored", "conflict"]
    again = [word("w1", "p1", "a", seconds=9), word("w2", "p9", "a")]
    assert outcomes(store.record_feedback(again)) == ["known", "unknown_prediction"]
    assert [one.feedback.label for one in store.answered("digits")] == ["a"]
    assert store.record_feedback([]) == []
    store.record_predictions([])


def test_a_full_disk_is_never_told_as_an_unknown_prediction(tmp_path: Path) -> None:
    """Reading goes on where nothing can be written: a prediction that was not kept must not be called unknown."""
    store = FeedbackStore(f"sqlite:///{tmp_path}/feedback.db")
    store.record_predictions([prediction("kept", {"n": 1})])
    full = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(file.stat().st_size for file in tmp_path.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, full[1]))  # no file may grow beyond the largest, as on a full disk
    try:
        with pytest.raises(FeedbackError):
            store.record_predictions([prediction("lost", {"n": 2})])
        for _ in range(2):
            with pytest.raises(FeedbackError, match="free some space"):
                store.record_feedback([word("w1", "lost", "a")])
            with pytest.raises(FeedbackError, match="free some space"):
                store.record_feedback([word("w2", "kept", "a")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, full)
    said = store.record_feedback([word("w1", "lost", "a"), word("w2", "kept", "a")])
    assert outcomes(said) == ["unknown_prediction", "stored"]


def test_two_clients_that_count_alike_are_both_kept(store: FeedbackStore) -> None:
    store.record_predictions([prediction("p1", {"n": 1}), prediction("p2", {"n": 2})])
    said = [word("order-1", "p1", "a", client="ann"), word("order-1", "p2", "b", client="bob")]
    assert outcomes(store.record_feedback(said)) == ["stored", "stored"]
    assert outcomes(store.record_feedback(said)) == ["known", "known"]
    assert [one.feedback for one in store.answered("digits")] == said


def test_a_mind_changed_back_is_kept(store: FeedbackStore) -> None:
    store.record_predictions([prediction("p1", {"n": 1})])
    told = [word("", "p1", None, correct=right, seconds=n) for n, right in enumerate([True, True, False, False, True])]
    recorded = [store.record_feedback([one])[0] for one in told]
    assert outcomes(recorded) == ["stored", "known", "stored", "known", "stored"]
    kept = [(one.feedback.correct, one.feedback.feedback_id) for one in store.answered("digits")]
    assert [right for right, _ in kept] == [True, False, True]
    assert [name for _, name in kept] == [recorded[n].feedback_id for n in (0, 2, 4)]
    assert recorded[1] == ("known", recorded[0].feedback_id)
    assert outcomes(store.record_feedback([word("", "p1", None, correct=True, client="eve")])) == ["stored"]


TO_VERSION_1 = (
    "ALTER TABLE feedback RENAME TO newer",
    "DROP INDEX ix_feedback_prediction_id",
    "DROP INDEX ix_feedback_time_us",
    "CREATE TABLE feedback (number INTEGER NOT NULL, feedback_id VARCHAR(256) NOT NULL, prediction_id VARCHAR(256) "
    "NOT NULL, label TEXT, correct BOOLEAN, time_us BIGINT NOT NULL, client TEXT NOT NULL, "
    "source VARCHAR(32) NOT NULL, PRIMARY KEY (number), UNIQUE (feedback_id))",
    "CREATE INDEX ix_feedback_prediction_id ON feedback (prediction_id)",
    "CREATE INDEX ix_feedback_time_us ON feedback (time_us)",
    "INSERT INTO feedback SELECT * FROM newer",
    "DROP TABLE newer",
)


def test_a_store_of_version_1_becomes_one_of_version_2_and_loses_nothing(store: FeedbackStore, url: str) -> None:
    names = [f"p{number}" for number in range(50)]
    store.record_predictions([prediction(name, {"n": 1}) for name in names])
    store.record_feedback(
        [word(f"w{name}", name, "a", correct=None if n % 2 else True) for n, name in enumerate(names)]
    )
    before = [one.feedback for one in store.answered("digits")]
    server = (
        "ALTER TABLE feedback DROP CONSTRAINT feedback_of_client",
        "ALTER TABLE feedback ADD UNIQUE (feedback_id)",
    )
    with store.database.write() as connection:
        for line in TO_VERSION_1 if store.database.file else server:
            connection.exec_driver_sql(line)
        connection.exec_driver_sql("UPDATE flywheel_facts SET value = '1' WHERE key = 'schema'")
    store.close()
    for _ in range(2):
        again = FeedbackStore(url)
        assert again.database.fact("schema") == "2"
        assert [one.feedback for one in again.answered("digits")] == before
    assert outcomes(again.record_feedback([word("wp0", "p1", "b", client="bob")])) == ["stored"]
    assert outcomes(again.record_feedback([word("wp0", "p1", "b")])) == ["conflict"]
    assert [one.feedback for one in again.answered("digits")][:-1] == before


def test_times_choose_rows(store: FeedbackStore) -> None:
    store.record_predictions([prediction(f"p{n}", {"n": n}) for n in range(4)])
    found = store.predictions("digits", since=NOON + timedelta(seconds=1), until=NOON + timedelta(seconds=3))
    assert [one.prediction_id for one in found] == ["p1", "p2"]
    store.record_feedback([word(f"w{n}", "p0", "a", seconds=n) for n in range(4)])
    since = NOON + timedelta(hours=1, seconds=2)
    assert [one.feedback.feedback_id for one in store.answered("digits", since=since)] == ["w2", "w3"]


def test_many_rows_are_read_page_by_page(store: FeedbackStore) -> None:
    names = [f"p{number:05}" for number in range(1234)]
    store.record_predictions([prediction(name, {"n": 1}) for name in names])
    assert outcomes(store.record_feedback([word(f"w{name}", name, "a") for name in names])) == ["stored"] * len(names)
    assert [one.prediction_id for one in store.predictions("digits")] == names
    assert [one.prediction.prediction_id for one in store.answered("digits")] == names
    assert set(store.inputs_of(names[:7])) == set(names[:7])


def test_it_outlives_the_process(url: str, store: FeedbackStore) -> None:
    store.record_predictions([prediction("p1", {"n": 1})])
    store.close()
    assert [one.prediction_id for one in FeedbackStore(url).predictions("digits")] == ["p1"]


@pytest.mark.parametrize("keep", ["reference", "hash"])
def test_inputs_by_reference_and_by_hash(url: str, tmp_path: Path, keep: str) -> None:
    store = FeedbackStore(url, folder=tmp_path / "inputs", settings={"digits": FeedbackConfig(keep=keep)})
    same = {"image": "x" * 5000}
    store.record_predictions([prediction("p1", same), prediction("p2", same), prediction("p3", {"image": "y"})])
    files = sorted((tmp_path / "inputs").glob("*")) if keep == "reference" else []
    assert len(files) == (2 if keep == "reference" else 0)
    found = [one.input for one in store.predictions("digits")]
    assert found == ([same, same, {"image": "y"}] if keep == "reference" else [None] * 3)
    assert next(one.input_sha256 for one in store.predictions("digits")) == prediction("p1", same).input_sha256
    if files:
        files[0].unlink()
        with pytest.raises(FeedbackError, match="file is gone"):
            list(store.predictions("digits"))


@pytest.mark.parametrize("keep", ["full", "reference"])
def test_sealed_inputs_need_their_key(url: str, tmp_path: Path, keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key, settings = new_key(), {"digits": FeedbackConfig(keep=keep)}
    secret = {"text": "a secret that nobody reads"}
    store = FeedbackStore(url, key=key, folder=tmp_path / "inputs", settings=settings)
    store.record_predictions([prediction("p1", secret)])
    assert [one.input for one in store.predictions("digits")] == [secret]
    store.close()
    for file in (*tmp_path.glob("feedback.db*"), *(tmp_path / "inputs").glob("*")):
        assert b"secret" not in file.read_bytes(), file
    with pytest.raises(FeedbackError, match="its inputs are sealed; give FLYWHEEL_FEEDBACK_KEY"):
        FeedbackStore(url)
    with pytest.raises(FeedbackError, match="the key is not the one"):
        FeedbackStore(url, key=new_key())
    with pytest.raises(FeedbackError, match="is not 32 bytes in base64; make one with `flywheel feedback key`"):
        FeedbackStore(url, key="short")
    (tmp_path / "key").write_text(f"{key}\n")
    monkeypatch.setenv("FLYWHEEL_FEEDBACK_KEY", str(tmp_path / "key"))
    again = FeedbackStore(url, folder=tmp_path / "inputs")
    assert [one.input for one in again.predictions("digits")] == [secret]
    monkeypatch.setenv("FLYWHEEL_FEEDBACK_KEY", str(tmp_path / "none"))
    with pytest.raises(FeedbackError, match="neither a key nor a file"):
        FeedbackStore(url)


def test_a_sealed_input_cannot_be_passed_off_as_another(tmp_path: Path) -> None:
    store = FeedbackStore(f"sqlite:///{tmp_path / 'f.db'}", key=new_key())
    store.record_predictions([prediction("p1", {"n": 1}), prediction("p2", {"n": 2})])
    with sqlite3.connect(tmp_path / "f.db") as connection:
        query = "UPDATE predictions SET input = (SELECT input FROM predictions WHERE prediction_id = 'p2')"
        connection.execute(f"{query} WHERE prediction_id = 'p1'")
    with pytest.raises(FeedbackError, match="or they were changed"):
        list(store.predictions("digits"))


def test_texts_are_masked_before_they_are_stored(tmp_path: Path) -> None:
    settings = {"digits": FeedbackConfig(mask=["email"])}
    store = FeedbackStore(f"sqlite:///{tmp_path / 'f.db'}", settings=settings)
    given = prediction("p1", {"text": "write to anna@example.org", "n": 3})
    store.record_predictions([given, prediction("p2", {"text": "nothing here"})])
    store.close()
    masked, plain = store.predictions("digits")
    assert masked.input == {"text": "write to <email>", "n": 3}
    assert masked.input_sha256 != given.input_sha256, "a hash of the text as it came would be a trace of it"
    assert plain.input_sha256 == prediction("p2", {"text": "nothing here"}).input_sha256
    assert not [file for file in tmp_path.glob("f.db*") if b"anna" in file.read_bytes()]


def test_a_newer_schema_is_refused(url: str) -> None:
    store = FeedbackStore(url)
    with store.database.write() as connection:
        connection.exec_driver_sql("UPDATE flywheel_facts SET value = '3' WHERE key = 'schema'")
    with pytest.raises(FeedbackError, match=r"newer Flywheel \(version 3 .*; update Flywheel"):
        FeedbackStore(url)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("nonsense", "not the address of a usable database"),
        ("mysql://user:secret@host/name", "neither sqlite nor postgresql"),
        ("sqlite://", "in memory keeps nothing"),
        ("postgresql://user:secret@127.0.0.1:1/none", "cannot be used"),
        ("sqlite:////proc/nowhere/f.db", "nowhere"),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_line_without_the_password(bad: str, said: str) -> None:
    with pytest.raises((FeedbackError, OSError)) as error:
        FeedbackStore(bad)
    assert said in str(error.value)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "f.db").write_text("no database, but a text that somebody put here\n" * 50)
    with pytest.raises(FeedbackError, match=r"cannot be used: file is not a database"):
        FeedbackStore(f"sqlite:///{tmp_path / 'f.db'}")


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from flywheel.feedback import database

    monkeypatch.setattr(database, "CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://user:secret@127.0.0.1:{silent.getsockname()[1]}/none"
        with pytest.raises(FeedbackError, match="cannot be used") as error:
            FeedbackStore(url)
    assert "secret" not in str(error.value)


PROGRAM = """
import itertools, sys
from datetime import UTC, datetime
from pathlib import Path
from flywheel.project.config_feedback import FeedbackConfig
from flywheel.feedback.store import FeedbackStore
from flywheel.serving.version.record import Feedback, Prediction
url, folder, who, rows = sys.argv[1:]
store = FeedbackStore(url, folder=Path(folder), settings={"digits": FeedbackConfig(keep="reference")})
for number in range(int(rows)):
    name, now = f"{who}-{number}", datetime.now(UTC)
    made = [Prediction(one, "digits", 1, "a" * 64, now, {"of": one}, "b" * 64, {}) for one in (name, "shared")]
    store.record_predictions(made)
    assert [one.outcome for one in store.record_feedback([Feedback(f"w-{name}", name, "a", None, now)])] == ["stored"]
    sys.stdout.write(name + "\\n")
    sys.stdout.flush()
"""


@pytest.fixture
def start(url: str, tmp_path: Path, root: Path) -> Callable[[str, int], subprocess.Popen[str]]:
    """Start a process that records so many predictions and corrections, and tells each name when it is done.

    It tells them to a file, `WHO.told`: `communicate` would lose what `readline` had buffered of a pipe.
    """

    def go(who: str, rows: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, url, str(tmp_path / "inputs"), who, str(rows)]
        environment = {**os.environ, "PYTHONPATH": str(root / "src")}
        with (tmp_path / f"{who}.told").open("w") as told:
            return forked.Popen(command, env=environment, stdout=told, stderr=subprocess.PIPE, text=True)

    return go


def test_where_the_latest_predictions_begin(url: str, tmp_path: Path) -> None:
    store = FeedbackStore(url, folder=tmp_path / "inputs")
    store.record_predictions([prediction(f"p{second}", {"a": second}) for second in (5, 1, 9, 7)])
    store.record_predictions([prediction("p8", {"a": 8}, "films")])
    second = timedelta(seconds=1)
    assert store.start_of_latest("digits", None, 1) == NOON + 9 * second
    assert store.start_of_latest("digits", None, 3) == NOON + 5 * second
    assert store.start_of_latest("digits", None, 5) is None
    assert store.start_of_latest("digits", NOON + 6 * second, 2) == NOON + 7 * second
    assert store.start_of_latest("digits", NOON + 6 * second, 3) is None
    assert store.start_of_latest("nothing", None, 1) is None


@pytest.mark.slow
def test_the_first_use_by_several_at_once(
    url: str, start: Callable[[str, int], subprocess.Popen[str]], tmp_path: Path
) -> None:
    for process in [start(f"c{number}", 20) for number in range(4)]:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    store = FeedbackStore(url, folder=tmp_path / "inputs")
    assert store.num_predictions("digits") == 4 * 20 + 1
    assert sum(1 for _ in store.answered("digits")) == 4 * 20


@pytest.mark.slow
def test_what_was_acknowledged_before_a_kill_is_there_once(
    url: str, start: Callable[[str, int], subprocess.Popen[str]], tmp_path: Path
) -> None:
    draw = random.Random(0)
    acknowledged: list[str] = []
    for attempt in range(3):
        names = [f"c{attempt}.{number}" for number in range(2)]
        started = [start(name, 1_000_000) for name in names]
        for process, name in zip(started, names, strict=True):
            while not (tmp_path / f"{name}.told").stat().st_size:
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.01)
        time.sleep(draw.uniform(0.05, 0.6))
        for process, name in zip(started, names, strict=True):
            os.kill(process.pid, signal.SIGKILL)
            process.communicate(timeout=60)
            acknowledged += (tmp_path / f"{name}.told").read_text().split("\n")[:-1]  # a kill may cut the last line
    assert len(acknowledged) > 6
    store = FeedbackStore(url, folder=tmp_path / "inputs")
    kept = [one.prediction_id for one in store.predictions("digits")]  # reads every input's file, too
    said = [one.feedback.prediction_id for one in store.answered("digits")]
    assert len(set(kept)) == len(kept)
    assert len(set(said)) == len(said)
    assert set(acknowledged) <= set(kept)
    assert set(acknowledged) <= set(said)

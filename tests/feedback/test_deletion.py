"""What is deleted is gone: from the database, its log, the files, and the rows that were pulled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from tests.feedback.conftest import NOON, World, png, prediction, word

from flywheel.feedback.deletion import Deleted, audit_lines, duration_of, expire, forget, held_of
from flywheel.feedback.store import FeedbackStore
from flywheel.feedback.tables import predictions
from flywheel.project.config_feedback import FeedbackConfig
from flywheel.project.errors import FeedbackError

pytestmark = pytest.mark.xdist_group("postgres")


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[FeedbackStore]:
    settings = {"digits": FeedbackConfig(keep="reference")}
    store = FeedbackStore(url, folder=tmp_path / "inputs", settings=settings)
    shared = {"image": "shared"}
    store.record_predictions([
        prediction("p1", {"image": "only-of-anna"}, subject="anna"), prediction("p2", shared, subject="anna"),
        prediction("p3", shared, subject="bob"), prediction("p4", {"text": "anna's text"}, "other", subject="anna"),
        prediction("p5", {"image": "nobody's"}),
    ])  # fmt: skip
    store.record_feedback([word("w1", "p1", "a"), word("w2", "p2", "a"), word("w3", "p3", "b"), word("w4", "p4", "c")])
    yield store
    store.close()


def test_one_person_is_forgotten_and_nobody_else(store: FeedbackStore, tmp_path: Path) -> None:
    assert forget(store, "anna", {}) == Deleted(predictions=3, feedback=3, input_files=1, pulled_rows=0)
    assert [one.prediction_id for one in store.predictions("digits")] == ["p3", "p5"]
    assert next(one.input for one in store.predictions("digits")) == {"image": "shared"}
    assert list(store.predictions("other")) == []
    assert [one.feedback.feedback_id for one in store.answered("digits")] == ["w3"]
    assert len(list((tmp_path / "inputs").iterdir())) == 2
    with pytest.raises(FeedbackError, match="anna: nothing is stored under this key"):
        forget(store, "anna", {})


def test_the_audit_tells_how_much_and_not_whose(store: FeedbackStore, tmp_path: Path) -> None:
    forget(store, "anna", {})
    expire(store, timedelta(0), {})
    forgotten, expired = audit_lines(store)
    assert forgotten["action"] == "forget"
    assert forgotten["predictions"] == 3
    assert forgotten["subject"] == store.subject_hash("anna")
    assert expired == {**expired, "action": "expire", "subject": None, "predictions": 2, "input_files": 2}
    assert "anna" not in json.dumps([forgotten, expired])
    other = FeedbackStore(f"sqlite:///{tmp_path / 'other.db'}")
    assert other.subject_hash("anna") != store.subject_hash("anna"), "the hash is of no use elsewhere"
    store.close()
    held = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and "other" not in file.name)
    assert b"anna" not in held


def test_what_is_old_expires(store: FeedbackStore) -> None:
    now = NOON + timedelta(days=90, seconds=3)
    assert expire(store, duration_of("90d"), {}, now=now).predictions == 2
    assert [one.prediction_id for one in store.predictions("digits")] == ["p3", "p5"]


@pytest.mark.parametrize(("text", "hours"), [("90d", 2160), ("12h", 12), ("2w", 336), ("0d", 0)])
def test_lengths_of_time(text: str, hours: int) -> None:
    assert duration_of(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5d", "90 days"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(FeedbackError, match="not a length of time; give 90d"):
        duration_of(text)


@pytest.mark.parametrize(
    ("key", "said"),
    [("", "is empty"), (" ", "is empty"), ("a\0b", "cannot be printed"), ("a\udce9", "cannot be printed")],
)
def test_what_is_no_key_is_refused(store: FeedbackStore, key: str, said: str) -> None:
    with pytest.raises(FeedbackError, match=f"subject: .*{said}"):
        forget(store, key, {})


def test_composed_and_decomposed_letters_are_one_key(store: FeedbackStore) -> None:
    store.record_predictions(
        [prediction("p6", {"n": 1}, subject="Jose\u0301"), prediction("p7", {}, subject="Jos\xe9 ")]
    )
    assert held_of(store, "Jos\xe9") == (2, 0)
    assert forget(store, "Jose\u0301", {}).predictions == 2
    with pytest.raises(FeedbackError, match="nothing is stored"):
        held_of(store, "Jos\xe9")


def test_what_older_servers_cut_or_damaged_is_found_and_said(store: FeedbackStore) -> None:
    old = {"p6": "Jos\ufffd", "p7": "Jose\u0301", "p8": "x" * 200}
    store.record_predictions([prediction(name, {}, subject=name) for name in old])
    with store.database.write() as connection:
        for name, text in old.items():
            own = predictions.c.prediction_id == name
            connection.execute(sa.update(predictions).where(own).values(subject_hash=store._hash(text)))
    assert held_of(store, "Jos\xe9") == (2, 1)
    assert held_of(store, "x" * 250) == (1, 1)
    assert forget(store, "Jos\xe9", {}).predictions == 2
    assert forget(store, "x" * 250, {}).predictions == 1


def test_the_command_asks_says_and_fails_where_nothing_matched(
    store: FeedbackStore, url: str, project: Path, run_flywheel: Any
) -> None:
    def go(*words: str) -> tuple[int, str]:
        done = run_flywheel("command.cli", "feedback", "forget", *words, "--store", url)
        return done.returncode, done.stdout + done.stderr

    code, told = go("anna", "--dry-run")
    assert (code, "3 predictions are stored" in told) == (0, True)
    code, told = go("anna")
    assert (code, "there is no terminal to ask on; add --yes" in told) == (2, True)
    assert store.num_predictions("digits") == 4
    code, told = go("anna", "--yes")
    assert (code, "deleted: 3 predictions" in told) == (0, True)
    code, told = go("anna", "--yes")
    assert (code, "nothing is stored under this key" in told) == (2, True)


def test_pulled_rows_of_a_person_go_too(digits_world: World) -> None:
    world = digits_world
    pictures = [np.random.default_rng(seed).integers(0, 256, (8, 8)) for seed in range(6)]
    names = [world.say({"image": png(one) if n % 2 else one.tolist()}, str(n), subject="anna" if n < 3 else "bob")
             for n, one in enumerate(pictures)]  # fmt: skip
    world.pull()
    folders = {"digits": world.feedback}
    assert forget(world.store, "anna", folders).pulled_rows == 3
    assert set(world.pulled()["label"]) == {"3", "4", "5"}
    manifest = json.loads((world.folder / "feedback/digits.json").read_text())
    assert set(manifest["predictions"]) == set(names[3:])
    assert manifest["num_rows"] == 3
    assert world.preprocess()["used"] == 3, "the manifest fits the rows that are left"
    assert not world.pull().changed, "a pull of what is left gives the very same rows"
    assert forget(world.store, "bob", folders).pulled_rows == 3
    assert not list(world.feedback.iterdir())
    assert world.preprocess() == {"num_rows": 0, "used": 0}

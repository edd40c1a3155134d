"""What users say, counted; and outcomes that arrive in a table."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.feedback.conftest import NOON, prediction, word

from flywheel.feedback.figures import figures_of, volumes
from flywheel.feedback.outcomes import add_outcomes
from flywheel.feedback.store import FeedbackStore
from flywheel.project.errors import DataError

pytestmark = pytest.mark.xdist_group("postgres")


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    store = FeedbackStore(f"sqlite:///{tmp_path / 'f.db'}")
    store.record_predictions([prediction(f"p{n}", {"n": n}, answer={"label": "3"}) for n in range(6)])
    return store


def test_counts_and_accuracy(store: FeedbackStore) -> None:
    store.record_feedback([
        word("w1", "p1", "3"), word("w2", "p2", "4", client="bob"), word("w3", "p3", None, correct=True),
        word("w4", "p4", 3.0), word("w5", "p2", "3", client="bob", seconds=86_400), word("w6", "p5", None),
    ])  # fmt: skip
    found = figures_of(store, "digits")
    assert (found.num_predictions, found.num_words, found.judged) == (6, 6, 4)
    assert found.accuracy == 1.0, "the last word about p2 is that it was right"
    assert found.clients == {"ann": 4, "bob": 2}
    assert found.days == {"2026-03-01": 5, "2026-03-02": 1}
    assert found.classes == {"3": 2, "4": 1, "numbers": 1}
    assert figures_of(store, "nothing").accuracy is None


def test_items_and_numbers(store: FeedbackStore) -> None:
    rows = [prediction("q1", {}, "films", answer={"label": "50", "items": ["50", "7"]}),
            prediction("q2", {}, "films", answer={"label": "50", "items": ["50", "7"]}),
            prediction("q3", {}, "price", answer={"label": 10.0})]  # fmt: skip
    store.record_predictions(rows)
    store.record_feedback([word("x1", "q1", "7"), word("x2", "q2", "8"), word("x3", "q3", 12.5)])
    assert figures_of(store, "films").accuracy == 0.5
    assert figures_of(store, "price").errors == [2.5]
    assert figures_of(store, "price").accuracy is None


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
def test_outcomes_from_a_table_are_kept_once(store: FeedbackStore, tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame({
        "prediction_id": ["p1", "p2", "p9", "p3"], "label": ["3", "5", "1", None],
        "correct": [None, None, None, "yes"], "time": ["2026-03-02T10:00:00+00:00", None, None, None],
    })  # fmt: skip
    file = tmp_path / f"outcomes{kind}"
    {".csv": lambda: frame.to_csv(file, index=False), ".parquet": lambda: frame.to_parquet(file),
     ".jsonl": lambda: frame.to_json(file, orient="records", lines=True)}[kind]()  # fmt: skip
    assert add_outcomes(store, file, "billing") == {"stored": 3, "unknown_prediction": 1}
    assert add_outcomes(store, file, "billing") == {"known": 3, "unknown_prediction": 1}
    said = [one.feedback for one in store.answered("digits")]
    assert sorted((one.prediction_id, one.label, one.correct) for one in said) == [
        ("p1", "3", None), ("p2", "5", None), ("p3", None, True)
    ]  # fmt: skip
    assert {one.source for one in said} == {"outcome"}
    assert {one.client for one in said} == {"billing"}
    assert figures_of(store, "digits").accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,label\np1,3\n", "has no column 'prediction_id'"),
        ("prediction_id,lable\np1,3\n", "neither a column 'label' nor 'correct'; did you mean"),
        ("prediction_id,label\np1,3\n,4\n", "row 1: has no prediction_id"),
        ("prediction_id,label\np1,\n", "row 0: gives neither"),
        ("prediction_id,correct\np1,maybe\n", "row 0: correct is 'maybe'"),
        ("prediction_id,label,time\np1,3,noon\n", "row 0: time 'noon'"),
        ("", "is empty"),
    ],
)
def test_a_table_with_a_bad_row_is_refused_whole(store: FeedbackStore, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "outcomes.csv").write_text(text)
    with pytest.raises(DataError) as error:
        add_outcomes(store, tmp_path / "outcomes.csv", "billing")
    assert said in str(error.value)
    assert list(store.answered("digits")) == []


def test_files_that_are_no_tables(store: FeedbackStore, tmp_path: Path) -> None:
    (tmp_path / "outcomes.txt").touch()
    for name, said in (("none.csv", "no such file"), ("outcomes.txt", "not supported")):
        with pytest.raises(DataError, match=said):
            add_outcomes(store, tmp_path / name, "billing")


def test_texts_of_numbers_are_labels_as_the_target_reads_them(store: FeedbackStore, tmp_path: Path) -> None:
    pd.DataFrame({"prediction_id": ["p1"], "label": [3.0]}).to_parquet(tmp_path / "o.parquet")
    add_outcomes(store, tmp_path / "o.parquet", "")
    found: Any = figures_of(store, "digits")
    assert found.accuracy == 1.0


def test_outcomes_name_classes_and_items_in_any_form(store: FeedbackStore, tmp_path: Path) -> None:
    store.record_predictions([prediction("t1", {}, "churn", answer={"label": "true"}),
                              prediction("t2", {}, "churn", answer={"label": "caf\u00e9"}),
                              prediction("t3", {}, "churn", answer={"label": "7", "items": ["7", "8"]})])  # fmt: skip
    (tmp_path / "o.csv").write_text("prediction_id,label\nt1,TRUE\nt2,cafe\u0301\nt3,8.0\n")
    add_outcomes(store, tmp_path / "o.csv", "")
    assert figures_of(store, "churn").accuracy == 1.0


def test_volumes_are_counted_in_steps_of_time(url: str, tmp_path: Path) -> None:
    store = FeedbackStore(url, folder=tmp_path / "inputs")
    times = (0, 59, 60, 200)
    store.record_predictions([prediction(f"p{seconds}", {"a": seconds}) for seconds in times])
    store.record_predictions([prediction("p1", {"a": 1}, "films")])
    store.record_feedback([word("w1", "p0", "1"), word("w2", "p59", "1", seconds=70), word("w3", "p1", "good")])
    minute, hour = timedelta(minutes=1), timedelta(hours=1)
    found = volumes(store, "digits", NOON, minute)
    assert found == [
        (NOON, 2, 0), (NOON + minute, 1, 0), (NOON + 3 * minute, 1, 0), (NOON + hour, 0, 1),
        (NOON + hour + minute, 0, 1),
    ]  # fmt: skip
    assert volumes(store, "digits", NOON + minute, hour) == [(NOON + minute, 2, 1), (NOON + minute + hour, 0, 1)]
    assert volumes(store, "nothing", NOON, minute) == []

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from flywheel.modality.interactions.data.preprocessor import InteractionsPreprocessor
from flywheel.modality.interactions.data.reader import InteractionsReader
from flywheel.modality.interactions.data.target import ItemTarget
from flywheel.preprocessor.pipeline.run import preprocess
from flywheel.preprocessor.task import load_preprocessor
from flywheel.project.errors import DataError
from flywheel.project.params import load_task
from flywheel.registry.request import frame_of

TRAIN = pd.DataFrame(
    {
        "user": ["7", "9", "7", "7", "9"],
        "history": [[], [], ["a"], ["a", "b"], ["b"]],
        "time": [1.0, 1.0, 2.0, 3.0, 2.0],
        "label": ["a", "b", "b", "c", "a"],
        "title": ["Ant", "Bee", "Bee", None, "Ant"],
    }
)
"""Items in order of frequency: a, b (2 each), c: codes 1, 2, 3."""


@pytest.fixture
def fitted() -> InteractionsPreprocessor:
    made = InteractionsPreprocessor(history_length=4)
    made.fit([TRAIN.iloc[:2], TRAIN.iloc[2:]])
    return made


def test_histories_are_codes_on_the_left_padding_on_the_right_and_the_most_recent_last(
    fitted: InteractionsPreprocessor,
) -> None:
    inputs = fitted.transform(TRAIN)
    assert inputs["user"].tolist() == [1, 2, 1, 1, 2]
    assert inputs["user"].dtype == np.int32
    assert inputs["history"].tolist() == [[0] * 4, [0] * 4, [1, 0, 0, 0], [1, 2, 0, 0], [2, 0, 0, 0]]
    spec = fitted.meta()["inputs"]["history"]
    assert spec == {"dtype": inputs["history"].dtype.name, "shape": [4], "padding": 0}


def test_column_j_of_the_scores_is_item_code_j_plus_1(fitted: InteractionsPreprocessor) -> None:
    target = ItemTarget()
    target.fit([TRAIN["label"]])
    codes = fitted.transform(pd.DataFrame({"history": [[item] for item in target.items]}))["history"][:, 0]
    assert codes.tolist() == [column + 1 for column in target.encode(pd.Series(target.items)).tolist()]
    assert fitted.meta()["item_counts"] == [2, 2, 1]
    assert fitted.meta()["item_titles"] == ["Ant", "Bee", "c"]


def test_a_request_names_a_user_or_gives_a_history_or_both(fitted: InteractionsPreprocessor) -> None:
    requests = pd.DataFrame(
        {
            "user": ["7", 9, None, "7", "nobody", "nobody"],
            "history": [None, None, ["c", "a"], ["b"], None, ["a", "unheard of"]],
        }
    )
    inputs = fitted.transform(requests)
    assert inputs["user"].tolist() == [1, 2, 0, 1, 0, 0]
    assert inputs["history"].tolist() == [
        [1, 2, 3, 0], [2, 1, 0, 0], [3, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]
    ]  # fmt: skip


def test_a_request_with_neither_or_with_nonsense_is_refused(fitted: InteractionsPreprocessor) -> None:
    with pytest.raises(DataError, match="neither user nor history"):
        fitted.transform(pd.DataFrame({"user": ["7", None]}))
    with pytest.raises(DataError, match="not a list of items"):
        fitted.transform(pd.DataFrame({"history": [5]}))
    with pytest.raises(DataError, match="neither a text nor a number"):
        fitted.transform(pd.DataFrame({"history": [[["a"]]]}))
    with pytest.raises(DataError, match="neither a text nor a number"):
        fitted.transform(pd.DataFrame({"user": [["7"]]}))


def test_longer_histories_keep_the_last_items(fitted: InteractionsPreprocessor) -> None:
    long = ["a", "b", "unknown", "c", "b", "a"]
    assert fitted.transform(pd.DataFrame({"history": [long]}))["history"].tolist() == [[2, 3, 2, 1]]


def test_rows_that_cannot_be_used_are_dropped_with_their_reason(fitted: InteractionsPreprocessor) -> None:
    rows = pd.DataFrame(
        {"user": ["7", "7", None, 7.0], "history": [["a"], ["a"], None, ["b"]], "label": ["b", "a", "a", "c"],
         "error": ["broken", None, None, None]}, index=[10, 11, 12, 13])  # fmt: skip
    kept, dropped = fitted.clean(rows)
    assert kept.index.tolist() == [13]
    assert kept["user"].tolist() == ["7"]
    whys = ["broken", "its item is in the user's own history", "gives neither user nor history"]
    assert [drop.why for drop in dropped] == whys
    assert [drop.row for drop in dropped] == [10, 11, 12]


def test_the_state_is_the_whole_preprocessor(fitted: InteractionsPreprocessor) -> None:
    state = json.loads(json.dumps(fitted.to_json()))
    rebuilt = InteractionsPreprocessor.from_json(state)
    assert rebuilt.to_json() == fitted.to_json()
    requests = pd.DataFrame({"user": ["9", "7"]})
    for name, values in fitted.transform(requests).items():
        assert np.array_equal(rebuilt.transform(requests)[name], values)
    with pytest.raises(DataError, match="not an InteractionsPreprocessor"):
        InteractionsPreprocessor.from_json({"history_length": 4})


def test_where_chunks_end_changes_nothing(fitted: InteractionsPreprocessor) -> None:
    other = InteractionsPreprocessor(history_length=4)
    other.fit(TRAIN.iloc[[row]] for row in range(len(TRAIN)))
    assert other.to_json() == fitted.to_json()


def test_feedback_without_a_time_comes_last() -> None:
    made = InteractionsPreprocessor()
    made.fit([TRAIN, pd.DataFrame({"user": ["9"], "history": [["b", "a"]], "label": ["c"]})])
    assert made.transform(pd.DataFrame({"user": ["9"]}))["history"].tolist() == [[1 + i for i in (1, 0, 2)] + [0]]


def test_a_digest_tells_user_history_and_time_apart_and_nothing_else(fitted: InteractionsPreprocessor) -> None:
    rows = TRAIN.iloc[[2, 2, 3]].copy()
    rows["title"] = ["one", "two", "three"]
    digests = fitted.digest(rows)
    assert np.array_equal(digests[0], digests[1])
    assert not np.array_equal(digests[0], digests[2])


def test_previews_name_what_was_had(fitted: InteractionsPreprocessor) -> None:
    inputs = fitted.transform(pd.DataFrame({"user": ["7", "x"], "history": [["a", "c"], []]}))
    assert fitted.item_titles()["a"] == "Ant"
    assert "c" not in fitted.item_titles(), "it has no title"
    assert fitted.preview(inputs, 0).text == "user 7 had Ant; c"
    assert fitted.preview(inputs, 1).text == "a new user, no history"


def test_requests_are_read_from_csv_and_jsonl(fitted: InteractionsPreprocessor, tmp_path: Path) -> None:
    (tmp_path / "ask.csv").write_text("user,history,k\n7,,2\n,c a,\n")
    (tmp_path / "ask.jsonl").write_text('{"history": ["b", "c"], "k": 1}\n{"user": 9}\n')
    frame = fitted.read_requests([tmp_path / "ask.csv", tmp_path / "ask.jsonl"])
    inputs = fitted.transform(frame)
    assert inputs["user"].tolist() == [1, 0, 0, 2]
    assert inputs["history"].tolist() == [[1, 2, 3, 0], [3, 1, 0, 0], [2, 3, 0, 0], [2, 1, 0, 0]]
    (tmp_path / "wrong.csv").write_text("person\n7\n")
    with pytest.raises(DataError, match="neither a column 'user' nor 'history'"):
        fitted.read_requests([tmp_path / "wrong.csv"])


def test_the_schema_wants_a_user_or_a_history(fitted: InteractionsPreprocessor) -> None:
    schema = fitted.schema()
    assert set(schema["properties"]) == {"user", "history", "k"}
    assert schema["anyOf"] == [{"required": ["user"]}, {"required": ["history"]}]
    assert "required" not in schema
    frame = frame_of([{"user": "9"}, {"history": ["b", "c"], "k": 1}], schema)
    assert fitted.transform(frame)["history"].tolist() == [[2, 1, 0, 0], [2, 3, 0, 0]]


def test_the_reader_and_both_preprocessors_agree(root: Path) -> None:
    reader = InteractionsReader("watched.inter", "user_id", "item_id", "timestamp")
    splits = reader.read(root / "tests/fixtures/interactions")
    inputs, target = InteractionsPreprocessor(), ItemTarget()
    inputs.fit(splits["train"].chunks(7))
    target.fit(frame["label"] for frame in splits["train"].chunks(11))
    frame = pd.concat(splits["train"].chunks(1000))
    made, codes = inputs.transform(frame), target.encode(frame["label"])
    for row, history in enumerate(frame["history"]):
        held = made["history"][row]
        assert [target.items[code - 1] for code in held[held != 0].tolist()] == history
        assert target.items[codes[row]] == frame["label"].iloc[row]


def test_the_whole_stage(project: Path, with_tasks: Callable[..., None], root: Path) -> None:
    with_tasks("movielens")
    task = load_task("movielens", project / "params.yaml")
    task.data.reader.read |= {"path": "watched.inter", "items_path": "films.item"}
    meta = preprocess(task, root / "tests/fixtures/interactions", project / "none", project / "out")
    assert meta["num_rows"]["validation"] == 12
    assert meta["num_rows"]["test"] == 11  # one user's last film is in no train row
    profile = json.loads((project / "out/profile.json").read_text())
    assert profile["dropped"]["test"]["reasons"][0]["why"] == "its item occurs in no train row"
    test = load_file(project / "out/test.safetensors")
    assert all(code + 1 not in row for code, row in zip(test["target"].tolist(), test["history"].tolist(), strict=True))
    loaded = load_preprocessor(project / "out/preprocessor.json")
    assert loaded.inputs.meta()["num_items"] == loaded.target.meta()["num_items"] == meta["num_outputs"]


def test_feedback_that_names_only_a_user_adds_to_what_the_user_had() -> None:
    made = InteractionsPreprocessor()
    feedback = pd.DataFrame({"user": ["7", 9, "new", "new"], "label": ["d", "b", "a", "c"]})
    made.fit([TRAIN, feedback])
    names = dict(enumerate(made.to_json()["fitted"]["items"], 1))

    def histories(frame: pd.DataFrame) -> list[list[str]]:
        return [[names[code] for code in row[row != 0].tolist()] for row in made.transform(frame)["history"]]

    assert histories(pd.DataFrame({"user": ["7", "9", "new"]})) == [["a", "b", "c", "d"], ["a", "b"], ["a", "c"]]
    assert made.meta()["inputs"]["history"]["shape"] == [5], "the longest, a b c before d, and two more"
    assert histories(feedback) == [["a", "b", "c"], ["a"], [], ["a"]], "no row has its own item, or a later one"
    given = pd.Series([["b"], None, [], ["a"]], dtype=object)
    assert histories(feedback.assign(history=given)) == [["b"], ["a"], [], ["a"]]


def test_a_stored_history_is_whole_for_an_item_that_is_not_in_it(fitted: InteractionsPreprocessor) -> None:
    asked = pd.DataFrame({"user": ["9", "9", "7"], "label": ["c", "unheard of", None]})
    assert fitted.transform(asked)["history"].tolist() == [[2, 1, 0, 0], [2, 1, 0, 0], [1, 2, 3, 0]]


def test_items_as_numbers_are_found_in_histories() -> None:
    rows = pd.DataFrame({"user": ["7", "8", "9"], "history": [[1, 2], [1, 3.0], ["1"]], "label": ["2", "3", 2]})
    made = InteractionsPreprocessor()
    kept, dropped = made.clean(rows)
    assert [drop.row for drop in dropped] == [0, 1]
    assert {drop.why for drop in dropped} == {"its item is in the user's own history"}
    made.fit([pd.DataFrame({"user": ["7"], "history": [[1, 2]], "label": ["3"]}),
              pd.DataFrame({"user": ["7"], "label": ["1"]}), kept])  # fmt: skip
    stored = made.transform(pd.DataFrame({"user": ["7"]}))["history"]
    asked = made.transform(pd.DataFrame({"history": [["2", "3", "1"]]}))["history"]
    assert np.array_equal(stored, asked)
    with pytest.raises(DataError, match="neither a text nor a number"):
        made.clean(pd.DataFrame({"user": ["7"], "history": [[["a"]]], "label": ["b"]}))


def test_the_whole_stage_with_feedback_by_user(project: Path, with_tasks: Callable[..., None], root: Path) -> None:
    with_tasks("movielens")
    task = load_task("movielens", project / "params.yaml")
    task.data.reader.read |= {"path": "watched.inter", "items_path": "films.item"}
    raw, feedback = root / "tests/fixtures/interactions", project / "given"
    preprocess(task, raw, feedback, project / "before")
    before = json.loads((project / "before/preprocessor.json").read_text())["inputs"]["fitted"]
    user, had = before["users"][0], [int(code) for code in before["histories"][0].split()]
    other = next(item for code, item in enumerate(before["items"], 1) if code not in had)
    feedback.mkdir()
    pd.DataFrame({"user": [user], "label": [other]}).to_parquet(feedback / "one.parquet")
    preprocess(task, raw, feedback, project / "after")
    loaded = load_preprocessor(project / "after/preprocessor.json")
    after = json.loads((project / "after/preprocessor.json").read_text())["inputs"]["fitted"]
    names = [after["items"][int(code) - 1] for code in after["histories"][0].split()]
    assert names == [*(before["items"][code - 1] for code in had), other]
    train = load_file(project / "after/train.safetensors")
    at = int(train["row"].argmax())
    assert loaded.target.meta()["items"][int(train["target"][at])] == other
    assert np.count_nonzero(train["history"][at]) == len(had)
    assert not (train["history"] == train["target"][:, None] + 1).any(), "no row's item is in its history"


def test_the_last_of_a_users_interactions_at_one_time_is_known_however_the_file_is_sorted(tmp_path: Path) -> None:
    lines = [f"u{user},i{item},2024-01-10" for item in range(9) for user in range(5)]
    kept = []
    for rows in (lines, lines[::-1]):
        (tmp_path / "log.csv").write_text("\n".join(["user,item,time", *rows]))
        train = pd.concat(InteractionsReader("log.csv").read(tmp_path)["train"].chunks(10))
        made = InteractionsPreprocessor()
        made.fit([train])
        names = dict(enumerate(made.items, 1))
        found = made.transform(pd.DataFrame({"user": made.users}))["history"]
        kept.append([[names[code] for code in row[row != 0].tolist()] for row in found])
        assert all(len(history) == 7 for history in kept[-1]), "all of train, not what was before the file's last row"
    assert kept[0] == kept[1]

"""Values that mean the same are one value: in any format, in training and in requests, whatever comes first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flywheel.modality.interactions.data.preprocessor import InteractionsPreprocessor
from flywheel.modality.interactions.data.reader import InteractionsReader
from flywheel.modality.interactions.data.target import ItemTarget
from flywheel.modality.tabular.data.preprocessor import TabularPreprocessor
from flywheel.modality.text.data.cleaning import TextCleaning
from flywheel.preprocessor.pipeline.survey import _own_where_missing
from flywheel.reader.table import TableReader

SAME = [[True, "true", "True", "TRUE"], [1, 1.0, "1", "1.0", " 1.00 "], ["two\nlines", "two\r\nlines", "two\rlines"]]
ALL = [value for values in SAME for value in values]


@pytest.mark.parametrize("order", [1, -1])
def test_categories_have_one_code_in_training_and_in_requests(order: int) -> None:
    made = TabularPreprocessor(types={"c": "category"})
    made.fit([pd.DataFrame({"c": pd.Series(ALL[::order], dtype=object), "label": "a"})])
    assert sorted(made.columns[0].to_json()["values"]) == ["1", "true", "two\nlines"]
    found = made.transform(pd.DataFrame({"c": pd.Series(ALL, dtype=object)}))["categories"][:, 0].tolist()
    for values in SAME:
        codes, found = found[: len(values)], found[len(values) :]
        assert len(set(codes)) == 1
        assert codes[0] > 1
    assert len({row.tobytes() for row in made.digest(made.clean(pd.DataFrame({"c": SAME[1]}))[0])}) == 1


def test_missing_words_are_known_in_any_form() -> None:
    made = TabularPreprocessor(types={"x": "number"}, missing=["", "-999.0"], drop_constant=False)
    made.fit([pd.DataFrame({"x": ["-999", "-999.0", "1", "2"], "label": "a"})])
    assert made.facts()["columns"]["x"]["missing"] == 0.5


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_labels_of_a_table_are_one_class_in_every_format(tmp_path: Path, ending: str) -> None:
    rows: list[Any] = [1, True, "true", 1.0, "1.0", "TRUE", "a\r\nb"]
    if ending == "csv":
        lines = [f'{n},"{value}"' if isinstance(value, str) else f"{n},{value}" for n, value in enumerate(rows)]
        (tmp_path / "t.csv").write_bytes("\n".join(["x,y", *lines, ""]).encode())
    else:
        lines = [json.dumps({"x": n, "y": value}) for n, value in enumerate(rows)]
        (tmp_path / "t.jsonl").write_text("\n".join(lines))
    from flywheel.preprocessor.target import ClassTarget

    frames = list(TableReader(f"t.{ending}", "y").read(tmp_path)["train"].chunks(3))
    target = ClassTarget()
    target.fit([frame["label"] for frame in frames])
    assert target.classes == ["1", "a\nb", "true"]
    codes = [code for frame in frames for code in target.encode(frame["label"]).tolist()]
    assert codes == [0, 2, 2, 0, 0, 2, 1]


def test_users_items_and_groups_too(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(b'user,item,time\n"a\r\nb",1,1\n"a\nb",1.0,2\n"a\nb",2,3\nTrue,2,1\ntrue,3,2\n')
    train = pd.concat(InteractionsReader("log.csv", min_user=1).read(tmp_path)["train"].chunks(9))
    assert list(zip(train["user"], train["label"], strict=True)) == [("a\nb", "1"), ("true", "2")]
    made = InteractionsPreprocessor()
    made.fit([train])
    assert made.transform(pd.DataFrame({"user": pd.Series([True, "TRUE"], dtype=object)}))["user"].tolist() == [2, 2]
    groups = _own_where_missing(pd.Series([1, "1.0", True, "True", None, " "], dtype=object))
    assert groups.nunique() == 4


def test_texts_of_a_file_that_was_saved_elsewhere_are_the_same() -> None:
    cleaning = TextCleaning(whitespace=False, control=False)
    assert cleaning.clean("two\r\nlines\rof it") == cleaning.clean("two\nlines\nof it") == "two\nlines\nof it"


def test_what_was_learnt_before_values_had_one_form_goes_on(tmp_path: Path) -> None:
    """A version of a task with the classes True and False, or a category in capitals, is still opened and answers."""
    from flywheel.preprocessor.target import ClassTarget
    from flywheel.preprocessor.task import TaskPreprocessor, load_preprocessor

    values = ["FALSE", "True", "1.0", "a\r\nb", "cafe\u0301"]
    inputs, target = TabularPreprocessor(types={"c": "category"}), ClassTarget()
    frame = pd.DataFrame({"c": values})
    inputs.fit([frame])
    target.fit([frame["c"]])
    state = TaskPreprocessor(inputs, target).to_json()
    state["inputs"]["fitted"]["columns"][0]["values"] = state["target"]["classes"] = values
    (tmp_path / "preprocessor.json").write_text(json.dumps(state))
    opened = load_preprocessor(tmp_path / "preprocessor.json")
    assert opened.target.meta()["classes"] == values
    for asked in (values, ["false", "true", "1", "a\nb", "caf\u00e9"]):
        assert opened.inputs.transform(pd.DataFrame({"c": asked}))["categories"][:, 0].tolist() == [2, 3, 4, 5, 6]
        assert opened.target.encode(pd.Series(asked)).tolist() == [0, 1, 2, 3, 4]


def test_users_and_items_that_were_learnt_before_they_had_one_form_are_known() -> None:
    frame = pd.DataFrame({"user": ["a", "b"], "history": [[], []], "label": ["x", "y"], "time": [1.0, 2.0]})
    made = InteractionsPreprocessor()
    made.fit([frame])
    old = json.dumps(made.to_json()).replace('"a"', '"1.0"').replace('"x"', '"cafe\\u0301"')
    opened = InteractionsPreprocessor.from_json(json.loads(old))
    asked = pd.DataFrame({"user": [1, "1.0"], "history": [["caf\u00e9"], ["cafe\u0301"]]})
    found = opened.transform(asked)
    assert found["user"].tolist() == [1, 1]
    assert (found["history"][:, 0] == 1).all()
    items = ItemTarget()
    items.fit([pd.Series(["x", "y"])])
    state = json.loads(json.dumps(items.to_json()).replace('"x"', '"1.0"'))
    assert ItemTarget.from_json(state).encode(pd.Series([1, "y"])).tolist() == [0, 1]

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.init_task.guess import CLASS, ITEM, NUMBER, Guess
from flywheel.init_task.recipe import check, settings
from flywheel.project.errors import DataError

Guessed = Callable[..., Guess]


def told(guess: Guess) -> dict[str, str]:
    return {note.what: note.guess for note in guess.notes}


def ignored(guess: Guess) -> dict[str, str]:
    return {note.guess: note.why for note in guess.notes if note.what == "ignored"}


def numbers(rows: int = 100, columns: int = 3, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.DataFrame({f"x{i}": generator.normal(size=rows).round(3) for i in range(columns)})


def test_a_table_of_classes(guessed: Guessed, data: Any) -> None:
    guess = guessed(data.flowers())
    assert (guess.modality, guess.target, guess.num_classes, guess.num_rows) == ("tabular", CLASS, 3, 120)
    assert guess.reader == {
        "_target_": "flywheel.reader.table.TableReader",
        "path": "data.csv",
        "label_column": "species",
    }
    assert guess.inputs == {}
    assert told(guess)["target"] == "species"
    assert not [line for line in guess.warnings if "small" not in line]


def test_a_quantity(guessed: Guessed) -> None:
    frame = numbers().assign(cost=lambda f: (f.x0 * 3 + np.sin(f.x1)).round(3))
    guess = guessed(frame, "cost")
    assert (guess.modality, guess.target) == ("tabular", NUMBER)
    assert guess.spread == pytest.approx(frame["cost"].std(), rel=1e-6)


@pytest.mark.parametrize(
    ("values", "kind", "why"),
    [
        (["yes", "no"] * 50, CLASS, "words"),
        ([0, 1] * 50, CLASS, "whole numbers with 2 different values"),
        (list(range(5)) * 20, CLASS, "20 rows each"),
        (list(range(20)) * 5, CLASS, "5 rows each"),
        (list(range(25)) * 4, NUMBER, "whole numbers with 25"),
        ([0.5, 1.5] * 50, NUMBER, "fractions"),
    ],
)
def test_class_or_number(guessed: Guessed, values: list[Any], kind: str, why: str) -> None:
    guess = guessed(numbers().assign(label=values))
    assert guess.target == kind
    assert why in next(note.why for note in guess.notes if note.what == "kind")
    assert "at most 20 values" in next(note.why for note in guess.notes if note.what == "rule")


def test_the_kind_can_be_said(guessed: Guessed) -> None:
    assert guessed(numbers().assign(label=list(range(5)) * 20), kind="number").target == NUMBER
    assert guessed(numbers().assign(label=[0.5, 1.5] * 50), kind="class").target == CLASS


def test_the_target_can_be_named_and_the_nearest_is_told(guessed: Guessed, data: Any) -> None:
    assert told(guessed(data.flowers(), "colour"))["target"] == "colour"
    assert told(guessed(data.flowers(), "Species"))["target"] == "species"
    with pytest.raises(DataError, match=r"no column 'speceis'; did you mean 'species'\?"):
        guessed(data.flowers(), "speceis")


def test_without_a_likely_target_it_must_be_named(guessed: Guessed) -> None:
    dates = pd.date_range("2024-01-01", periods=60).astype(str)
    frame = pd.DataFrame({"id": range(60), "day": dates})
    with pytest.raises(DataError, match="no column looks like a target; name it: --target COLUMN, one of id, day"):
        guessed(frame)
    guess = guessed(frame.assign(mid=np.arange(60) % 3))
    assert (told(guess)["target"], guess.notes[2].why) == ("mid", "no other column can be one")


DIAMONDS = ["carat", "cut", "color", "clarity", "depth", "table", "price", "x", "y", "z"]


@pytest.mark.parametrize(
    ("names", "target"),
    [
        (["x0", "x1", "y"], "y"),
        (["y", "x0", "x1"], "y"),
        (["x0", "label", "x1"], "label"),
        (["x0", "label", "price"], None),
        (["price", "survived", "x0"], None),
        (["pclass", "survived", "x0"], "survived"),
        (["x0", "class", "price"], "price"),
        (["x", "y", "value"], "value"),
        (["x", "z", "y"], None),
        (["x0", "y", "x1"], None),
        (["x0", "x1", "x2"], None),
        (["beds", "lat", "long"], None),
        (DIAMONDS, None),
    ],
)
def test_a_guess_that_is_not_near_certain_is_asked_or_refused(
    guessed: Guessed, names: list[str], target: str | None
) -> None:
    frame = numbers(columns=len(names)).set_axis(names, axis=1)
    if target is not None:
        assert told(guessed(frame))["target"] == target
        return
    with pytest.raises(DataError, match="the target is not certain: it may be ") as caught:
        guessed(frame)
    assert all(f"'{name}' (number)" in str(caught.value) for name in names[-5:])
    asked: list[Any] = []

    def ask(question: str, answers: Sequence[str]) -> str:
        asked.extend([question, *answers])
        return names[0]

    guess = guessed(frame, ask=ask)
    assert asked[0] == "data.csv: which column is to be predicted?"
    assert set(asked[1:]) == set(names)
    assert (told(guess)["target"], guess.notes[2].why) == (names[0], "you named it")


def test_the_column_is_named_where_its_kind_does_not_fit(guessed: Guessed, data: Any) -> None:
    guess = guessed(data.reviews().assign(rank=[i * 7 % 31 for i in range(80)]).drop(columns="label"), "rank")
    with pytest.raises(DataError, match="text is learnt with classes, and the target 'rank' is a number"):
        check(guess, Path("data.csv"))


def test_roles_can_be_said(guessed: Guessed, data: Any) -> None:
    frame = data.purchases().rename(columns={"user_id": "who", "item_id": "what", "timestamp": "at"})
    guess = guessed(frame, user="who", item="what", time="at")
    read = guess.reader
    assert (read["user_column"], read["item_column"], read["time_column"]) == ("who", "what", "at")
    with pytest.raises(DataError, match="has no columns of users and items; name both: --user"):
        guessed(frame, user="who")
    with pytest.raises(DataError, match="no column 'whom'; did you mean 'who'"):
        guessed(frame, user="whom", item="what")
    flowers = data.flowers().assign(bed=[f"bed {n % 12}" for n in range(120)], day=range(120))
    guess = guessed(flowers, "species", group="bed")
    assert guess.reader["group_column"] == "bed"
    assert "bed" not in told(guess)["inputs"]
    guess = guessed(flowers, "species", time="day")
    assert guess.reader["time_column"] == "day"
    assert told(guess)["split"] == "by day"
    with pytest.raises(DataError, match="column 'species' is the target already; name another --group"):
        guessed(flowers, "species", group="species")
    with pytest.raises(DataError, match="may stand on both sides; give --time or --group"):
        guessed(flowers, "species", group="bed", time="day")


def test_unlabelled_rows_are_counted(guessed: Guessed, data: Any) -> None:
    frame = data.flowers(200)
    frame.loc[:3, "species"] = ""
    guess = guessed(frame)
    assert guess.num_rows == 196
    assert "4 rows of 200 without a label: preprocess drops them." in guess.warnings
    assert guess.preprocess == {}


def test_many_unlabelled_rows_raise_the_limit(guessed: Guessed, data: Any) -> None:
    frame = data.flowers(200)
    frame.loc[:79, "species"] = ""
    guess = guessed(frame)
    assert guess.preprocess == {"max_dropped": 0.41}
    assert any("max_dropped is raised from 0.05 to 0.41" in line for line in guess.warnings)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([""] * 100, "column 'label' holds no labels"),
        (["yes"] * 100, "all 100 labels of 'label' are 'yes': there is nothing to tell apart"),
        (["yes"] * 50 + [""] * 50, "all 50 labels of 'label' are 'yes'"),
        (
            [f"n{i}" for i in range(100)],
            "'label' has 100 classes in 100 rows: it looks like an identifier or free text",
        ),
        (["a", "b"] + [""] * 98, "'label' has 2 classes with fewer than 3 rows"),
        ([f"n{i // 2}" for i in range(100)], "'label' has 50 classes with fewer than 3 rows: 'n0' \\(2\\)"),
    ],
)
def test_targets_that_cannot_be_learnt(guessed: Guessed, labels: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        guessed(numbers().assign(label=labels))


def test_ten_thousand_classes(guessed: Guessed) -> None:
    with pytest.raises(DataError, match=r"'code' has 10,000 classes in 10,000 rows: .*; name another column: --target"):
        guessed(numbers(10_000).assign(code=[f"c{i}" for i in range(10_000)]), "code")
    with pytest.raises(DataError, match="predict it as a quantity: --kind number"):
        guessed(numbers(10_000).assign(code=np.arange(10_000)[::-1] * 7 % 10_007), "code", kind="class")
    guess = guessed(numbers(10_000).assign(code=[f"c{i % 1500}" for i in range(10_000)]), "code")
    assert any("1,500 classes" in line for line in guess.warnings)


def test_a_few_rare_classes_are_left_out(guessed: Guessed, data: Any) -> None:
    frame = data.flowers(200)
    frame.loc[0, "species"] = "orchid"
    guess = guessed(frame)
    assert guess.target_settings == {"classes": ["setosa", "versicolor", "virginica"]}
    assert any("Left out: 1 class with fewer than 3 rows: 'orchid' (1)" in line for line in guess.warnings)


def test_equal_rows_of_a_table_count_each_and_copies_of_a_text_once(guessed: Guessed) -> None:
    repeated = [numbers(1, seed=9).assign(label="c")] * 20
    guess = guessed(pd.concat([numbers(18).assign(label=["a", "b"] * 9), *repeated]))
    assert guess.num_classes == 3
    words = [f"every one of these {k} sentences says something else about it" for k in range(18)]
    texts = pd.DataFrame({"text": [*words, *["the very same words again and again in each row"] * 20]})
    with pytest.raises(DataError, match="1 class with fewer than 3 rows: 'c' \\(1\\)"):
        guessed(texts.assign(label=[*["a", "b"] * 9, *["c"] * 20]), modality="text")


def leaky(column: Callable[[pd.DataFrame], Any], target: str = "label") -> pd.DataFrame:
    frame = numbers().assign(label=["a", "b", "c", "d"] * 25, cost=lambda f: (f.x0 + f.x1**2).round(3))
    frame = frame.drop(columns="cost" if target == "label" else "label")
    return frame.assign(copy=column(frame))[["copy", "x0", "x1", "x2", target]]


@pytest.mark.parametrize(
    ("target", "column", "how"),
    [
        ("label", lambda f: f.label, "equals 'label'"),
        ("label", lambda f: f.label.map({"a": 3, "b": 1, "c": 2, "d": 9}), "renames, value by value, 'label'"),
        ("cost", lambda f: f.cost, "equals 'cost'"),
        ("cost", lambda f: (f.cost * 1.8 + 32).round(6), "rises strictly with 'cost'"),
        ("cost", lambda f: np.exp(-f.cost), "falls strictly with 'cost'"),
    ],
)
def test_a_column_that_gives_the_target_away_is_ignored(
    guessed: Guessed, target: str, column: Callable[[pd.DataFrame], Any], how: str
) -> None:
    guess = guessed(leaky(column, target), target)
    assert how in ignored(guess)["copy"]
    assert guess.inputs["ignore"] == ["copy"]
    assert any(line.startswith("'copy' gives the target away") for line in guess.warnings)
    assert told(guess)["inputs"] == "3 columns"


def test_columns_that_sum_to_the_target_are_ignored(guessed: Guessed) -> None:
    frame = numbers(columns=5).assign(total=lambda f: (f.x1 + f.x2 + f.x3).round(3))
    guess = guessed(frame, "total")
    assert guess.inputs["ignore"] == ["x1", "x2", "x3"]
    assert "add up to 'total'" in ignored(guess)["x1"]
    guess = guessed(numbers(columns=5).assign(total=lambda f: 2 * f.x1 - 0.5 * f.x2 + 7), "total")
    assert guess.inputs["ignore"] == ["x1", "x2"]
    assert "in a weighted sum are exactly 'total'" in ignored(guess)["x2"]


def test_a_sum_of_all_columns_is_said_and_kept(guessed: Guessed) -> None:
    guess = guessed(numbers(columns=2).assign(total=lambda f: (f.x0 + f.x1).round(3)), "total")
    assert "ignore" not in guess.inputs
    assert any("x0, x1 add up to 'total': a rule, not a model" in line for line in guess.warnings)


def test_a_leak_that_is_the_only_column_leaves_nothing(guessed: Guessed) -> None:
    frame = pd.DataFrame({"copy": ["a", "b"] * 50, "label": ["a", "b"] * 50})
    with pytest.raises(DataError, match="left to predict 'label' from: copy \\(leak: copy equals 'label'\\)"):
        guessed(frame)


def test_honest_columns_are_no_leaks(guessed: Guessed, data: Any) -> None:
    generator = np.random.default_rng(5)
    frame = numbers(500).assign(cost=lambda f: f.x0 + generator.normal(0, 1e-3, 500))
    assert ignored(guessed(frame, "cost")) == {}
    assert ignored(guessed(data.flowers())) == {}


def test_constant_empty_and_identifier_columns_are_ignored(guessed: Guessed, data: Any) -> None:
    frame = data.flowers().assign(
        row_number=range(120), planet="earth", nothing="", code=[f"k{i * 7919 % 1000:03}-{i}" for i in range(120)]
    )[["row_number", "code", "length_0", "length_1", "planet", "nothing", "species"]]
    guess = guessed(frame)
    assert set(ignored(guess)) == {"row_number", "code", "planet", "nothing"}
    assert guess.inputs["ignore"] == ["planet", "nothing"]
    assert guess.inputs["types"] == {"row_number": "identifier", "code": "identifier"}


def test_mixed_types_are_said(guessed: Guessed, data: Any) -> None:
    frame = data.flowers().astype({"length_0": object})
    frame.loc[3:5, "length_0"] = "unknown"
    guess = guessed(frame)
    assert guess.inputs["missing"][-1] == "unknown"
    assert "'length_0' holds mixed types: numbers, and 'unknown'; these count as missing." in guess.warnings
    frame.loc[3:20, "length_0"] = [f"w{i}" for i in range(18)]
    assert "mixed types" in ignored(guessed(frame))["length_0"]


def test_a_target_of_mixed_types(guessed: Guessed) -> None:
    frame = numbers().assign(cost=lambda f: (f.x0 + f.x1**2).round(3)).astype({"cost": object})
    frame.loc[:1, "cost"] = "ask us"
    guess = guessed(frame, "cost")
    assert guess.target == NUMBER
    assert guess.reader["no_label"][-1] == "ask us"
    assert guess.num_rows == 98
    frame.loc[:19, "cost"] = [f"w{i}" for i in range(20)]
    with pytest.raises(DataError, match="row 0: 'cost' is not a number in 20 rows \\(such as 'w0'\\)"):
        guessed(frame, "cost")


def test_decimal_commas_thousands_and_dates(guessed: Guessed, data: Any) -> None:
    frame = data.flowers()
    text = frame.assign(day=[f"{1 + i % 28}/{1 + i % 12}/2024" for i in range(120)], **{
        name: frame[name].map(lambda value: f"{value}".replace(".", ",")) for name in frame.columns if "length" in name
    })  # fmt: skip
    guess = guessed(text.to_csv(index=False, sep=";"), "species")
    assert guess.reader["separator"] == ";"
    assert guess.inputs["decimal"] == ","
    assert guess.inputs["date_formats"][-1] == "%d/%m/%Y"
    assert "length_0 (number)" in next(note.why for note in guess.notes if note.what == "inputs")
    money = frame.assign(income=[f"{20 + i * 7 % 50},{100 + i:03}" for i in range(120)])
    assert guessed(money, "species").inputs == {"thousands": ","}
    doubtful = frame.assign(day=[f"{1 + i % 12}/{1 + i % 11}/2024" for i in range(120)])
    assert any("can be read in two ways" in line for line in guessed(doubtful, "species").warnings)


def test_an_encoding_is_said(guessed: Guessed, data: Any) -> None:
    frame = data.flowers().assign(colour="größe")
    frame.loc[::2, "colour"] = "rot"
    guess = guessed(frame.to_csv(index=False).encode("latin-1"))
    assert guess.reader["encoding"] == "latin-1"
    assert any("read as latin-1" in line for line in guess.warnings)


def test_groups_and_splits_by_their_names(guessed: Guessed, data: Any) -> None:
    frame = data.flowers().assign(patient_id=[f"p{i % 15}" for i in range(120)])
    guess = guessed(frame, "species")
    assert guess.reader["group_column"] == "patient_id"
    frame = data.flowers().assign(split=["train"] * 90 + ["test"] * 30)
    guess = guessed(frame, "species")
    assert guess.reader["split_column"] == "split"
    assert told(guess)["split"] == "split"


def test_reserved_names_are_changed(guessed: Guessed, data: Any) -> None:
    frame = data.flowers().rename(columns={"length_0": "row", "colour": "group"})
    guess = guessed(frame, "species")
    assert guess.reader["rename"] == {"row": "row_", "group": "group_"}
    assert any("Renamed" in line for line in guess.warnings)


def test_long_texts_make_a_text_task(guessed: Guessed, data: Any) -> None:
    frame = data.reviews().assign(stars=1)
    guess = guessed(frame)
    assert (guess.modality, guess.target) == ("text", CLASS)
    assert guess.reader["columns"] == ["text"]
    assert guess.inputs == {"column": "text", "max_length": 24}
    assert guessed(frame.assign(stars=[i * 7 % 31 for i in range(80)]), modality="tabular").modality == "tabular"


def test_short_texts_beside_other_columns_stay_tabular(guessed: Guessed, data: Any) -> None:
    frame = data.flowers().assign(name=[f"Mr Ada von {i}" for i in range(120)])
    assert guessed(frame, "species").modality == "tabular"
    assert "free text" in ignored(guessed(frame, "species"))["name"]
    assert guessed(frame[["name", "species"]], "species").modality == "text"
    assert guessed(frame, "species", modality="text").inputs["column"] == "name"


def test_interactions(guessed: Guessed, data: Any) -> None:
    guess = guessed(data.purchases())
    assert (guess.modality, guess.target) == ("interactions", ITEM)
    assert guess.reader == {
        "_target_": "flywheel.modality.interactions.data.reader.InteractionsReader",
        "path": "data.csv",
        "user_column": "user_id",
        "item_column": "item_id",
        "time_column": "timestamp",
    }
    guess = guessed(data.purchases().drop(columns="timestamp"))
    assert guess.reader["time_column"] is None
    assert any("No column of times" in line for line in guess.warnings)


def test_a_named_target_makes_a_table_of_interactions_tabular(guessed: Guessed, data: Any) -> None:
    frame = data.purchases().assign(price=lambda f: f.timestamp % 97 + 0.5, bought=lambda f: f.timestamp % 2)
    assert guessed(frame, "bought").modality == "tabular"


def test_too_few_interactions(guessed: Guessed, data: Any) -> None:
    with pytest.raises(DataError, match="has 5 users; at least 10 are needed"):
        guessed(data.purchases(users=5))
    with pytest.raises(DataError, match="has 0 users with 3 interactions"):
        guessed(data.purchases(each=2))
    with pytest.raises(DataError, match="has no columns of users and items"):
        guessed(data.flowers(), modality="interactions")


def test_too_few_rows(guessed: Guessed, data: Any) -> None:
    with pytest.raises(DataError, match="has 8 labelled rows, at least 10 are needed"):
        guessed(data.flowers(8).assign(species=["a", "b"] * 4))


def test_items_that_train_lacks_may_be_many(guessed: Guessed, data: Any) -> None:
    guess = guessed(data.purchases())
    assert guess.preprocess == {"max_dropped": 0.5}
    [said] = [note for note in guess.notes if note.what == "unknown items"]
    assert said.guess == "up to 50%"
    assert said.why == "test rows whose item is in no train row cannot be answered: dropped, counted"


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        (
            "when",
            pd.date_range("2024-01-01", periods=120, freq="h").astype(str),
            "--time when tests on the latest",
        ),
        (
            "species",
            ["red;green", "red", "blue;red", "green"] * 30,
            "several labels a row, separated by ';' (3 in all)",
        ),
        ("species", [1, 2, 3, 4, 5] * 24, "'species' counts; its classes are learnt without their order"),
        ("species", ["no"] * 116 + ["yes"] * 4, "'yes' is 3.3% of the rows, so that accuracy says little"),
    ],
)
def test_other_ways_to_learn_are_offered(guessed: Guessed, data: Any, column: str, values: Any, said: str) -> None:
    guess = guessed(data.flowers().assign(**{column: values}), "species")
    assert any(said in line for line in guess.warnings)


def test_a_weight_is_no_input(guessed: Guessed, data: Any) -> None:
    frame = data.flowers().assign(sample_weight=[1, 2, 5] * 40, weight=[3, 4] * 60)
    assert ignored(guessed(frame, "species")) == {
        "sample_weight": "a row's weight, by its name; --weight sample_weight trains by it"
    }


def test_a_weight_that_is_named_is_trained_by(guessed: Guessed, data: Any) -> None:
    frame = data.flowers().assign(sample_weight=[1, 2, 5] * 40, weight=[3, 4] * 60)
    guess = guessed(frame, "species", weight="weight")
    assert guess.reader["weight_column"] == "weight"
    assert "weight" not in guess.inputs.get("ignore", [])
    assert settings(guess)["metric"] == {"monitor": {"name": "loss", "mode": "min"}}, "what goes by the weights"
    (note,) = [note for note in guess.notes if note.what == "weight"]
    assert (note.guess, note.why) == ("weight", "how much each row counts in the loss; metrics count every row once")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"weight": "species"}, "column 'species' is the target already; name another --weight"),
        ({"weight": "who", "group": "who"}, "column 'who' is the group already; name another --weight"),
        (
            {"weight": "comma"},
            "column 'comma' is not a weight in 120 of 120 rows looked at; of this one, its weight is missing, or not",
        ),
        ({"weight": "wight"}, "no column 'wight'"),
    ],
)
def test_a_weight_that_cannot_be_is_refused(guessed: Guessed, data: Any, said: dict[str, str], why: str) -> None:
    frame = data.flowers().assign(who=[*range(60)] * 2, comma=["0,5", "1,5"] * 60)
    with pytest.raises(DataError, match=re.escape(why)):
        guessed(frame, "species", **said)


def test_interactions_have_no_weights(guessed: Guessed, data: Any) -> None:
    with pytest.raises(DataError, match="interactions have no weights; leave out --weight"):
        guessed(data.purchases().assign(w=1.5), weight="w")

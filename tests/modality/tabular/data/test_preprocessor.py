from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.modality.tabular.data.preprocessor import TabularPreprocessor
from flywheel.project.errors import DataError
from flywheel.project.instantiate import build
from flywheel.project.kind import PREPROCESSOR

ROWS = 40
TARGET = "flywheel.modality.tabular.data.preprocessor.TabularPreprocessor"


def table(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Texts, as a CSV file gives them."""
    random = np.random.default_rng(seed)
    towns = random.choice(["Ulm", "Bonn", "Kiel"], rows, p=[0.5, 0.3, 0.2])
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 400, rows), unit="D")
    frame = pd.DataFrame({
        "id": [str(n) for n in range(rows)],
        "age": [f"{n:.1f}" for n in random.normal(40, 10, rows)],
        "town": towns,
        "member": random.choice(["yes", "no"], rows),
        "joined": days.strftime("%Y-%m-%d"),
        "same": "x",
        "label": random.choice(["a", "b"], rows),
    })  # fmt: skip
    frame.loc[3, "age"], frame.loc[5, "town"], frame.loc[7, "joined"] = "", "NA", ""
    return frame


@pytest.fixture(scope="module")
def fitted() -> TabularPreprocessor:
    made = TabularPreprocessor()
    made.fit([table()])
    return made


def test_inputs_and_meta(fitted: TabularPreprocessor) -> None:
    arrays, meta = fitted.transform(table()), fitted.meta()
    assert {name: (array.dtype.name, array.shape) for name, array in arrays.items()} == {
        "numeric": ("float32", (ROWS, 9)), "categories": ("int32", (ROWS, 1))
    }  # fmt: skip
    assert meta["columns"] == ["age", "age.missing", "member", "joined.year", "joined.month", "joined.day",
                               "joined.weekday", "joined.elapsed_days", "joined.missing", "town"]  # fmt: skip
    assert (meta["num_numeric"], meta["cardinalities"], meta["num_features"]) == (9, [5], 10)
    assert meta["inputs"]["categories"] == {"dtype": "int32", "shape": [1]}
    scaled = (arrays["numeric"] - meta["inputs"]["numeric"]["mean"]) / meta["inputs"]["numeric"]["std"]
    assert scaled[:, 0].mean() == pytest.approx(0, abs=1e-5)
    assert scaled[:, 0].std() == pytest.approx(1, abs=1e-5)
    assert set(arrays["numeric"][:, 1]) == {0, 1} == set(scaled[:, 1]), "a mark is not scaled"


def test_missing_values_are_filled_and_marked(fitted: TabularPreprocessor) -> None:
    arrays, ages = fitted.transform(table()), pd.to_numeric(table()["age"], errors="coerce")
    assert arrays["numeric"][3, :2].tolist() == [pytest.approx(ages.median()), 1]
    assert arrays["categories"][5, 0] == 1
    assert (arrays["categories"][[0, 1, 2], 0] >= 2).all()
    assert fitted.statistics(table(), arrays) == {"missing: age": 1, "missing: joined": 1, "missing: town": 1}


def test_dates_become_their_parts(fitted: TabularPreprocessor) -> None:
    frame = table().head(2).assign(joined=["2024-02-29", "2025-01-01T18:00:00Z"])
    first = pd.to_datetime(table()["joined"], errors="coerce").min()
    found = fitted.transform(frame)["numeric"][:, 3:8]
    elapsed = [(pd.Timestamp(text) - first) / pd.Timedelta(days=1) for text in ("2024-02-29", "2025-01-01T18:00")]
    assert found.tolist() == [[2024, 2, 29, 3, elapsed[0]], [2025, 1, 1, 2, elapsed[1]]]


def test_what_is_no_input_is_said(fitted: TabularPreprocessor) -> None:
    facts = fitted.facts()
    assert set(facts["ignored"]) == {"id", "same"}
    assert "constant" in facts["ignored"]["same"]
    town = facts["columns"]["town"]
    assert (town["kind"], town["missing"], list(town["most_frequent"])) == (
        "category",
        1 / ROWS,
        ["Ulm", "Bonn", "Kiel"],
    )
    age = facts["columns"]["age"]
    assert age["min"] < age["median"] < age["max"]


@pytest.mark.parametrize("chunk", [1, 7, 20])
def test_chunks_change_nothing(fitted: TabularPreprocessor, chunk: int) -> None:
    made = TabularPreprocessor()
    made.fit(table().iloc[start : start + chunk] for start in range(0, ROWS, chunk))
    assert made.to_json() == fitted.to_json()
    assert made.facts() == fitted.facts()


def test_json_gives_an_equal_preprocessor(fitted: TabularPreprocessor) -> None:
    state = json.loads(json.dumps(fitted.to_json()))
    again = build({"_target_": TARGET}, PREPROCESSOR, where="x").from_json(state)
    assert again.to_json() == fitted.to_json()
    for name, array in fitted.transform(table(seed=1)).items():
        assert (again.transform(table(seed=1))[name] == array).all()
    for broken in ({}, {**state, "fitted": {}}, {**state, "fitted": {**state["fitted"], "columns": [{"kind": "q"}]}}):
        with pytest.raises(DataError, match="its inputs are not a TabularPreprocessor's"):
            TabularPreprocessor.from_json(broken)


def test_types_of_any_file_are_one(fitted: TabularPreprocessor) -> None:
    frame = table()
    typed = frame.assign(
        age=pd.to_numeric(frame["age"], errors="coerce"),
        member=(frame["member"] == "yes").astype(object),
        joined=pd.to_datetime(frame["joined"], errors="coerce"),
        town=[None if town == "NA" else town for town in frame["town"]],
    )
    for name, array in fitted.transform(frame).items():
        assert (fitted.transform(typed)[name] == array).all()


def test_stated_types_drop_the_rows_they_cannot_read() -> None:
    frame = table()
    frame.loc[2, "age"], frame.loc[4, "age"], frame.loc[6, "member"] = "abc", "inf", "perhaps"
    frame["town"] = frame["town"].astype(object)
    frame.at[8, "town"] = ["Ulm", "Bonn"]
    frame["error"] = [None, "unreadable", *[None] * (ROWS - 2)]
    made = TabularPreprocessor(types={"age": "number", "member": "boolean", "joined": "date"})
    kept, dropped = made.clean(frame)
    assert [(drop.row, drop.why) for drop in dropped] == [
        (1, "unreadable"),
        (2, "age: 'abc' is not a finite number"),
        (4, "age: 'inf' is not a finite number"),
        (6, "member: 'perhaps' is neither true nor false"),
        (8, "town: is a list or mapping, not one value"),
    ]
    assert kept.index.tolist() == [row for row in range(ROWS) if row not in (1, 2, 4, 6, 8)]
    assert "error" not in kept
    made.fit([frame.loc[kept.index]])
    assert made.transform(frame.loc[kept.index])["numeric"].shape[0] == ROWS - 5


def test_inferred_types_ask_a_person_what_a_strange_value_is(fitted: TabularPreprocessor) -> None:
    frame = table()
    frame.loc[2, "age"] = "abc"
    with pytest.raises(DataError, match=r"row 2: age: 'abc' is not a finite number; .*types: {age: number} drops"):
        fitted.transform(frame)
    with pytest.raises(DataError, match=r"row 2: column 'age': 1 of 39 values are not numbers"):
        TabularPreprocessor().fit([frame])
    assert [drop.row for drop in fitted.clean(frame)[1]] == [2]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("age", "abc", "age: 'abc' is not a finite number"),
        ("age", float("inf"), "age: 'inf' is not a finite number"),
        ("member", "perhaps", "member: 'perhaps' is neither true nor false"),
        ("joined", "31/12/2024", "joined: '31/12/2024' is not a date of a known format"),
        ("town", ["Ulm"], "town: is a list or mapping"),
    ],
)
def test_requests_that_cannot_be_used_name_file_and_row(
    fitted: TabularPreprocessor, column: str, value: Any, message: str
) -> None:
    frame = table().head(3).astype(object).drop(columns="label").assign(file="r.jsonl", row=[7, 8, 9])
    frame.at[1, column] = value
    with pytest.raises(DataError, match=rf"^r\.jsonl, row 8: {message}"):
        fitted.transform(frame)


def test_a_column_that_is_not_there(fitted: TabularPreprocessor) -> None:
    with pytest.raises(DataError, match="has no column 'town'; did you mean 'towns'"):
        fitted.transform(table().rename(columns={"town": "towns"}))
    for given in ({"types": {"agee": "number"}}, {"ignore": ["agee"]}):
        with pytest.raises(DataError, match=r"no column 'agee', which preprocess\.inputs names; did you mean 'age'"):
            TabularPreprocessor(**given).fit([table()])


@pytest.mark.parametrize("given", [{"types": {"id": "identifier"}}, {"ignore": ["id"]}])
def test_feedback_and_requests_need_no_identifier_and_no_ignored_column(given: dict[str, Any]) -> None:
    made, feedback = TabularPreprocessor(**given), table().drop(columns="id")
    cleaned = [made.clean(frame)[0] for frame in (table(), feedback)]
    assert [len(frame) for frame in cleaned] == [ROWS, ROWS]
    made.fit(cleaned)
    assert len(made.clean(feedback.drop(columns="label"))[0]) == ROWS
    assert np.array_equal(made.transform(feedback)["numeric"], made.transform(table())["numeric"])


def test_fractions_are_the_same_from_csv_and_json_whatever_their_sign() -> None:
    made = TabularPreprocessor(thousands=".", decimal=",")
    made.fit([pd.DataFrame({"x": ["2,75", "1.000,5", "3"], "label": "a"})])
    expected = [[2.75], [1000.5], [3.0]]
    for values in (["2,75", "1.000,5", "3"], [2.75, 1000.5, 3.0], np.array([2.75, 1000.5, 3], np.float32)):
        assert made.transform(pd.DataFrame({"x": values}))["numeric"].tolist() == expected


@pytest.mark.parametrize("unseen", ["rare", "refuse"])
def test_whole_numbers_are_one_category_with_and_without_a_fraction(unseen: str) -> None:
    made = TabularPreprocessor(types={"c": "category"}, min_count=1, unseen=unseen)
    made.fit([pd.DataFrame({"c": ["3.0", "3.0", "4", "", "10"], "label": "a"})])
    assert made.transform(pd.DataFrame({"c": ["3.0", "3", "4", "4.0", "4.00"]}))["categories"].tolist() == [
        [2], [2], [4], [4], [4]
    ]  # fmt: skip
    assert made.transform(pd.DataFrame({"c": [3, 10]}))["categories"].tolist() == [[2], [3]]
    if unseen == "refuse":
        with pytest.raises(DataError, match="c: '5' is not one of the values in train"):
            made.transform(pd.DataFrame({"c": [5]}))
    else:
        assert made.transform(pd.DataFrame({"c": ["1", "4.01"]}))["categories"].tolist() == [[0], [0]]


def test_whole_numbers_are_one_category_and_the_decimal_sign_counts() -> None:
    made = TabularPreprocessor(types={"c": "category"}, min_count=1, decimal=",")
    made.fit([pd.DataFrame({"c": ["3", "3", "3,0", "1"], "label": "a"})])
    found = made.transform(pd.DataFrame({"c": ["3", "3,0", "3,00", "1.000"]}))["categories"]
    assert found.tolist() == [[2], [2], [2], [0]]


def test_a_constant_with_missing_values_is_not_scaled_by_rounding() -> None:
    made = TabularPreprocessor(types={"x": "number"})
    made.fit([pd.DataFrame({"x": ["0.1"] * 11 + [""], "y": [str(n / 7) for n in range(12)], "label": "a"})])
    assert made.meta()["inputs"]["numeric"]["std"][0] == 1.0


def test_categories_by_frequency_with_rare_and_unseen_ones() -> None:
    frame = pd.DataFrame({"c": [*"bbbaaacc", "d", None], "label": "x"})
    made = TabularPreprocessor()
    made.fit([frame])
    codes = made.transform(pd.DataFrame({"c": ["a", "b", "c", "d", "new", None]}))["categories"][:, 0]
    assert codes.tolist() == [2, 3, 4, 0, 0, 1]
    assert made.meta()["cardinalities"] == [5]
    assert "numeric" not in made.meta()["inputs"]
    assert made.preview(made.transform(frame), 8).text == "c: (rare or unseen)"
    few = TabularPreprocessor(max_categories=1, min_count=1)
    few.fit([frame])
    assert few.transform(frame)["categories"][:, 0].tolist() == [0, 0, 0, 2, 2, 2, 0, 0, 0, 1]


def test_unseen_categories_can_be_refused() -> None:
    made = TabularPreprocessor(unseen="refuse")
    made.fit([pd.DataFrame({"c": ["a", "b", "a", "c"], "label": "x"})])
    assert made.schema()["properties"]["c"] == {"enum": ["a", "b", "c", None]}
    with pytest.raises(DataError, match="row 1: c: 'd' is not one of the values in train"):
        made.transform(pd.DataFrame({"c": ["a", "d"]}))


def test_numbers_are_clipped_at_quantiles_of_train() -> None:
    frame = pd.DataFrame({"x": [*map(str, np.linspace(0, 1, 99)), "1e6"], "label": "a"})
    made = TabularPreprocessor(clip=[0.0, 0.95])
    made.fit([frame])
    found = made.transform(pd.DataFrame({"x": ["-5", "0.5", "1e6"]}))["numeric"][:, 0]
    assert found[0] == 0
    assert 0.9 < found[2] < 1
    assert made.facts()["columns"]["x"]["max"] == 1e6


def test_numbers_as_they_are() -> None:
    made = TabularPreprocessor(types={"x": "number"}, normalise="none", drop_constant=False)
    made.fit([pd.DataFrame({"x": ["3"], "label": "a"})])
    assert made.meta()["inputs"] == {"numeric": {"dtype": "float32", "shape": [1]}}
    assert made.transform(pd.DataFrame({"x": [4]}))["numeric"].tolist() == [[4.0]]


def test_identifiers_tell_observations_apart_and_ignored_columns_do_not() -> None:
    frame = pd.DataFrame({"id": ["1", "2", "3"], "x": ["5", "5", "6"], "label": ["a", "a", "b"]})
    named = TabularPreprocessor(types={"id": "identifier"})
    ignoring = TabularPreprocessor(ignore=["id"])
    for made, distinct in ((named, 3), (ignoring, 2)):
        digests = made.digest(made.clean(frame)[0])
        assert len(np.unique(digests, axis=0)) == distinct
        made.fit([frame])
        assert made.meta()["columns"] == ["x"]
    assert ignoring.facts()["ignored"] == {"id": "as ignore says"}


def test_digests_do_not_depend_on_chunks() -> None:
    made = TabularPreprocessor()
    whole = made.digest(made.clean(table())[0])
    rows = [made.digest(made.clean(table().iloc[[row]])[0]) for row in range(ROWS)]
    assert (np.concatenate(rows) == whole).all()


def test_schema_of_a_request(fitted: TabularPreprocessor) -> None:
    schema = fitted.schema()
    assert schema["required"] == ["age", "town", "member", "joined"] == list(schema["properties"])
    assert schema["properties"]["age"]["type"] == ["number", "null"]
    assert schema["properties"]["member"]["type"] == ["boolean", "null"]
    assert schema["properties"]["joined"]["format"] == "date"
    assert schema["properties"]["town"]["examples"] == ["Ulm", "Bonn", "Kiel"]


def test_preview_is_lines_of_text(fitted: TabularPreprocessor) -> None:
    frame = table()
    arrays = fitted.transform(frame)
    row = frame.iloc[0]
    wanted = f"age: {float(row['age']):g}\ntown: {row['town']}\nmember: {'true' if row['member'] == 'yes' else 'false'}"
    assert fitted.preview(arrays, 0).text == f"{wanted}\njoined: {row['joined']}"
    assert str(fitted.preview(arrays, 3).text).startswith("age: (missing)\n")


def test_requests_are_read_from_files(fitted: TabularPreprocessor, tmp_path: Path) -> None:
    table().drop(columns="label").to_csv(tmp_path / "a.csv", index=False)
    table().head(2).to_json(tmp_path / "b.jsonl", orient="records", lines=True)
    frame = fitted.read_requests([tmp_path / "a.csv", tmp_path / "b.jsonl"])
    assert list(frame.columns) == ["age", "town", "member", "joined", "label", "file", "row"]
    arrays = fitted.transform(frame)
    assert (arrays["numeric"][:2] == arrays["numeric"][ROWS:]).all()


def test_nothing_to_learn_from() -> None:
    with pytest.raises(DataError, match=r"no column can be an input \(x: constant: '1' in every row of train\)"):
        TabularPreprocessor().fit([pd.DataFrame({"x": ["1", "1"], "label": ["a", "b"]})])
    with pytest.raises(DataError, match="holds no rows"):
        TabularPreprocessor().fit([])
    with pytest.raises(DataError, match="has seen no table yet"):
        TabularPreprocessor().transform(table())


def test_an_empty_frame_gives_empty_arrays(fitted: TabularPreprocessor) -> None:
    assert {name: array.shape for name, array in fitted.transform(table().head(0)).items()} == {
        "numeric": (0, 9), "categories": (0, 1)
    }  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [{"normalise": "unit"}, {"unseen": "drop"}, {"clip": [0.9, 0.1]}, {"max_categories": 0}, {"types": {"a": "b"}}],
)
def test_arguments_that_cannot_be(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|is not|is none"):
        TabularPreprocessor(**given)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.project.errors import ConfigError, DataError
from flywheel.reader.table import TableReader

TABLE = pd.DataFrame({"age": [30, 41, 52], "town": ["Ulm", "Bonn, west", "a\nb"], "bought": ["no", "yes", "no"]})


def write(folder: Path, name: str) -> None:
    if name.endswith(".parquet"):
        TABLE.to_parquet(folder / name)
    elif name.endswith((".jsonl", ".jsonl.gz")):
        TABLE.to_json(folder / name, orient="records", lines=True)
    else:
        TABLE.to_csv(folder / name, index=False, sep="\t" if ".tsv" in name else ",")


def rows_of(reader: TableReader, folder: Path, split: str = "train", rows: int = 100) -> pd.DataFrame:
    return pd.concat(list(reader.read(folder)[split].chunks(rows)))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.parquet", "a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_reads_tables_in_chunks_with_the_label_renamed(tmp_path: Path, name: str, rows: int) -> None:
    write(tmp_path, name)
    splits = TableReader(name, "bought", test_path=name).read(tmp_path)
    assert list(splits) == ["train", "test"]
    frames = list(splits["train"].chunks(rows))
    assert [len(frame) for frame in frames] == {1: [1, 1, 1], 2: [2, 1], 100: [3]}[rows]
    frame = pd.concat(frames)
    assert splits["train"].num_rows == 3
    assert list(frame.columns) == ["age", "town", "label"]
    assert frame.index.tolist() == [0, 1, 2]
    assert frame["label"].tolist() == ["no", "yes", "no"]
    assert frame["town"].tolist() == TABLE["town"].tolist()
    assert [int(age) for age in frame["age"]] == [30, 41, 52]


def test_values_of_csv_are_texts_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("zip,note,label\n01234,NA,x\n 7,,y\n,null,\n")
    frame = rows_of(TableReader("a.csv", "label"), tmp_path)
    assert frame["zip"].tolist() == ["01234", " 7", ""]
    assert frame["note"].tolist() == ["NA", "", "null"]
    assert frame["label"].tolist() == ["x", "y", None]


@pytest.mark.parametrize("missing", ["", "NA", "NaN", "null", " "])
def test_a_missing_label_is_none(tmp_path: Path, missing: str) -> None:
    (tmp_path / "a.csv").write_text(f"x,label\n1,a\n2,{missing}\n")
    assert rows_of(TableReader("a.csv", "label"), tmp_path)["label"].tolist() == ["a", None]
    assert rows_of(TableReader("a.csv", "label", no_label=["a"]), tmp_path)["label"].tolist()[0] is None


def test_numbered_classes_get_their_names_and_others_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,label\n1,0\n2,1\n3,2\n4,\n")
    frame = rows_of(TableReader("a.csv", "label", classes=["good", "bad"]), tmp_path)
    assert frame["label"].tolist() == ["good", "bad", None, None]
    assert frame["error"].tolist() == [None, None, "label 2 is not one of the 2 classes", None]


def test_headerless_file_with_another_first_line(tmp_path: Path) -> None:
    (tmp_path / "a.data").write_bytes('3 rows\n1|Caf\xe9|a\n2|"x|b\n'.encode("latin-1"))
    reader = TableReader(
        "a.data", "y", separator="|", names=["n", "t", "y"], skip_lines=1, encoding="latin-1", quoting=False
    )
    frame = rows_of(reader, tmp_path)
    assert frame.drop(columns="label").to_numpy().tolist() == [["1", "Café"], ["2", '"x']]
    with pytest.raises(DataError, match=r"is not UTF-8 text.*name its encoding"):
        TableReader("a.data", "y", separator="|", names=["n", "t", "y"], skip_lines=1, quoting=False).read(tmp_path)


def test_columns_are_renamed_then_kept(tmp_path: Path) -> None:
    (tmp_path / "a.inter").write_text("user:token\titem:token\trating:float\n1\t2\t3\n")
    reader = TableReader("a.inter", "rating", separator="\t", columns=["user"],
                         rename={"user:token": "user", "rating:float": "rating"})  # fmt: skip
    frame = rows_of(reader, tmp_path)
    assert frame.to_dict("list") == {"user": ["1"], "label": ["3"]}
    with pytest.raises(DataError, match="no column 'user:tokn' to rename; did you mean 'user:token'"):
        TableReader("a.inter", "rating", separator="\t", rename={"user:tokn": "user"}).read(tmp_path)


@pytest.mark.parametrize("rows", [1, 100])
def test_a_column_says_where_rows_belong(tmp_path: Path, rows: int) -> None:
    lines = ["1,train,a", "2,Test,b", "3,val,a", "4,train,b", "5,test,a"]
    (tmp_path / "a.csv").write_text("\n".join(["x,part,label", *lines]))
    reader = TableReader("a.csv", "label", split_column="part")
    splits = reader.read(tmp_path)
    assert {name: split.num_rows for name, split in splits.items()} == {"train": 2, "validation": 1, "test": 2}
    for name, wanted in {"train": ["1", "4"], "validation": ["3"], "test": ["2", "5"]}.items():
        frame = rows_of(reader, tmp_path, name, rows)
        assert frame["x"].tolist() == wanted
        assert list(frame.columns) == ["x", "label"]
        assert frame.index.tolist() == list(range(len(wanted)))
    assert splits["test"].file.endswith("a.csv (part: test)")


def test_a_split_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,part,label\n1,train,a\n2,hold-out,b\n")
    with pytest.raises(
        DataError, match="row 1: part is 'hold-out', which is not a split; write train, validation, test"
    ):
        TableReader("a.csv", "label", split_column="part").read(tmp_path)


def test_groups_and_three_files(tmp_path: Path) -> None:
    for name, value in (("a", 1), ("b", 2), ("c", 3)):
        (tmp_path / f"{name}.csv").write_text(f"x,who,label\n{value},w{value},a\n")
    reader = TableReader("a.csv", "label", validation_path="b.csv", test_path="c.csv", group_column="who")
    assert [rows_of(reader, tmp_path, split).to_dict("list") for split in ("train", "validation", "test")] == [
        {"x": [str(n)], "label": ["a"], "group": [f"w{n}"]} for n in (1, 2, 3)
    ]


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_side_tables_are_joined_by_key(tmp_path: Path, rows: int) -> None:
    pd.DataFrame({"user": [1, 2, 1], "item": [7, 8, 9], "label": [5, 3, 4]}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "u.user").write_text("1|24|F\n2|53|M\n")
    (tmp_path / "items.jsonl").write_text('{"item": 8, "title": "Ran", "year": 1985}\n{"item": "7", "title": "M"}\n')
    users = {"path": "u.user", "by": "user", "separator": "|", "names": ["user", "age", "sex"], "columns": ["age"]}
    reader = TableReader("a.parquet", "label", joins=[users, {"path": "items.jsonl", "by": "item"}])
    frame = rows_of(reader, tmp_path, rows=rows)
    assert list(frame.columns) == ["user", "item", "age", "title", "year", "label"]
    assert frame["age"].tolist() == ["24", "53", "24"]
    assert frame["title"].tolist() == ["M", "Ran", None]
    assert frame["year"].tolist() == [None, 1985, None]


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_side_tables_can_follow_row_by_row(tmp_path: Path, rows: int) -> None:
    (tmp_path / "x.csv").write_text("1 2\n3 4\n5 6\n")
    (tmp_path / "y.csv").write_text("10\n20\n30\n")
    joins = [{"path": "y.csv", "names": ["y"]}]
    reader = TableReader("x.csv", "y", separator=" ", names=["a", "b"], joins=joins)
    frame = rows_of(reader, tmp_path, rows=rows)
    assert frame.to_dict("list") == {"a": ["1", "3", "5"], "b": ["2", "4", "6"], "label": ["10", "20", "30"]}
    (tmp_path / "y.csv").write_text("10\n20\n")
    with pytest.raises(DataError, match=r"y\.csv: has 2 rows, x\.csv has 3"):
        reader.read(tmp_path)


@pytest.mark.parametrize(
    ("side", "join", "message"),
    [
        ("k,z\n1,a\n1,b\n", {"by": "k"}, "row 1: k '1' is there twice"),
        ("k,z\n1,a\n", {"by": "q"}, "no column 'q'"),
        ("q,z\n1,a\n", {"by": "q"}, "no column 'q' to join by"),
        ("k,x\n1,a\n", {"by": "k"}, r"column 'x' is in a\.csv too"),
        ("k,z\n1,a\n", {"by": "k", "columns": ["zz"]}, "no column 'zz'; did you mean 'z'"),
    ],
)
def test_side_table_that_does_not_fit(tmp_path: Path, side: str, join: dict[str, Any], message: str) -> None:
    (tmp_path / "a.csv").write_text("k,x,label\n1,2,a\n")
    (tmp_path / "b.csv").write_text(side)
    with pytest.raises(DataError, match=message):
        TableReader("a.csv", "label", joins=[{"path": "b.csv", **join}]).read(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"separator": "::"}, "neither one character"),
        ({"encoding": "latin-eins"}, "no encoding 'latin-eins'"),
        ({"names": ["a", "a"]}, "holds a name twice"),
        ({"skip_lines": -1}, "is below 0"),
        ({"split_column": "s", "test_path": "t.csv"}, "split_column says where rows belong"),
        ({"group_column": "label"}, "must be different columns"),
        ({"columns": ["label"]}, "columns holds 'label'"),
        ({"joins": [{"by": "k"}]}, r"joins\[0\]: has no path"),
        ({"joins": [{"path": "b", "key": "k"}]}, "unknown key 'key'"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TableReader("a.csv", "label", **given)


@pytest.mark.parametrize("name", ["error", "file", "row", "group", "label"])
def test_reserved_names_must_be_renamed(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text(f"{name},y\n1,a\n")
    with pytest.raises(DataError, match=f"a column is named '{name}', which is reserved; rename it"):
        TableReader("a.csv", "y").read(tmp_path)
    frame = rows_of(TableReader("a.csv", "y", rename={name: "other"}), tmp_path)
    assert frame["other"].tolist() == ["1"]


@pytest.mark.parametrize("extra", ["1,2,3,4\n", "1,2,3,4\n1,2,3,4\n"])
def test_row_with_too_many_values_is_an_error(tmp_path: Path, extra: str) -> None:
    (tmp_path / "a.csv").write_text("a,b,label\n1,2,x\n" + extra)
    with pytest.raises(DataError, match=r"a\.csv, row 1: has 4 values, others have 3"):
        TableReader("a.csv", "label").read(tmp_path)


def test_first_row_longer_than_the_header_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,label\n1,2,x\n1,2,x\n")
    with pytest.raises(DataError, match=r"a\.csv, row 0: .*more values than the header"):
        TableReader("a.csv", "label").read(tmp_path)


def test_unknown_label_column_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "a.csv")
    with pytest.raises(DataError, match="no column 'bougth'; did you mean 'bought'"):
        TableReader("a.csv", "bougth").read(tmp_path)


def test_a_table_of_labels_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label\nx\n")
    with pytest.raises(DataError, match="has no column besides label"):
        TableReader("a.csv", "label").read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"label,x\n", "has no rows"),
        ("a.csv", b"label,x\n\xff\xfe,1\n", "is not UTF-8"),
        ("a.csv.gz", b"label,x\n1,1\n", "truncated or corrupt gzip"),
        ("a.parquet", b"label,x\n1,1\n", "is not a Parquet file"),
        ("a.jsonl", b'{"label": 1, "x": 2}\n{"label": \n', "row 1: line 2 is not JSON"),
        ("a.jsonl", b'{"label": 1, "x": 2}\n\n[1, 2]\n', "row 1: line 3 is not a JSON object but a list"),
        ("a.jsonl", b'{"label": "\xff"}\n', "row 0: is not UTF-8"),
        ("a.jsonl", b"\n", "has no rows"),
    ],
)
def test_broken_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        TableReader(name, "label").read(tmp_path)
    assert caught.value.file == str(tmp_path / name)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv: missing"):
        TableReader("a.csv", "label").read(tmp_path)


def test_objects_of_different_keys_have_the_same_columns_in_every_chunk(tmp_path: Path) -> None:
    records = [{"label": "a", "x": 1}, {"label": ["b"], "y": [1, 2]}, {"x": None, "label": None}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    frames = list(TableReader("a.jsonl", "label").read(tmp_path)["train"].chunks(1))
    assert [list(frame.columns) for frame in frames] == [["x", "y", "label"]] * 3
    assert pd.concat(frames)["y"].tolist() == [None, [1, 2], None]
    assert pd.concat(frames)["label"].tolist() == ["a", "['b']", None]


def test_numbers_of_parquet_stay_numbers(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1.5, np.nan], "label": [1.0, np.nan]}).to_parquet(tmp_path / "a.parquet")
    frame = rows_of(TableReader("a.parquet", "label"), tmp_path)
    assert frame["x"].dtype == np.float64
    assert frame["label"].tolist() == [1.0, None]


def test_the_latest_rows_are_the_test_split(tmp_path: Path) -> None:
    """Rows of one moment stay together, whatever the file's order; the time is not an input."""
    days = [f"2024-01-{day + 1:02d}" for day in range(25) for _ in range(4)]
    frame = pd.DataFrame({"when": days, "a": range(100), "y": ["p", "q"] * 50}).sample(frac=1, random_state=0)
    frame.to_csv(tmp_path / "a.csv", index=False)
    splits = TableReader("a.csv", "y", time_column="when").read(tmp_path)
    parts = {name: pd.concat(split.chunks(7)) for name, split in splits.items()}
    assert {name: sorted(map(int, part["a"])) for name, part in parts.items()} == {
        "train": list(range(64)), "validation": list(range(64, 80)), "test": list(range(80, 100)),
    }  # fmt: skip
    assert list(parts["test"].columns) == ["a", "label"]
    assert splits["test"].num_rows == 20


@pytest.mark.parametrize(
    ("content", "settings", "said"),
    [
        ("t,a,y\n1,2,p\nsoon,3,q\n", {}, "row 1: t is 'soon', which is neither a number nor a date"),
        ("t,a,y\n1,2,p\n1,3,q\n", {}, "too few different times"),
        ("t,a,y\n2024-01-01,2,p\n1700000000000,3,q\n", {}, "mixes times in dates .* and milliseconds"),
        ("t,a,y\n1,2,p\n", {"split_column": "a"}, "split_column says where rows belong, so time_column cannot"),
        ("t,a,y\n1,2,p\n", {"test_path": "b.csv"}, "time_column says where rows belong, so test_path cannot"),
        ("t,a,y\n1,2,p\n", {"time_shares": [0.5, 0.5]}, "are not two shares above 0 that leave some rows to train"),
        ("t,a,y\n1,2,p\n", {"group_column": "t"}, "must be different columns"),
    ],
)
def test_times_that_part_nothing(tmp_path: Path, content: str, settings: dict[str, Any], said: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises((DataError, ConfigError), match=said):
        TableReader("a.csv", "y", time_column="t", **settings).read(tmp_path)

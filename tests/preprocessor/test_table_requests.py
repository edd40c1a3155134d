from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from flywheel.preprocessor.table_requests import read_table_requests
from flywheel.project.errors import DataError
from flywheel.reader.format.table_file import TableFormat


def test_tables_of_all_kinds_make_one_frame(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("age,id,town\n30,x,Ulm\n,y,\n")
    (tmp_path / "b.jsonl").write_text('{"town": null, "age": 41.5}\n{"town": "Bonn"}\n')
    pd.DataFrame({"town": ["Kiel"], "age": [7], "label": ["no"]}).to_parquet(tmp_path / "c.parquet")
    paths = [tmp_path / name for name in ("a.csv", "b.jsonl", "c.parquet")]
    frame = read_table_requests(paths, ["age", "town"])
    assert list(frame.columns) == ["age", "town", "label", "file", "row"]
    assert frame["age"].tolist()[:3] == ["30", "", 41.5]
    assert frame["age"].isna().tolist() == [False, False, False, True, False]
    assert frame["town"].fillna("-").tolist() == ["Ulm", "", "-", "Bonn", "Kiel"]
    assert frame["label"].fillna("-").tolist() == ["-", "-", "-", "-", "no"]
    assert frame["file"].tolist() == [str(paths[0])] * 2 + [str(paths[1])] * 2 + [str(paths[2])]
    assert frame["row"].tolist() == [0, 1, 0, 1, 0]
    assert frame.index.tolist() == list(range(5))


def test_there_is_no_label_where_no_file_has_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("age\n30\n")
    assert list(read_table_requests([tmp_path / "a.csv"], ["age"]).columns) == ["age", "file", "row"]


def test_optional_columns_are_kept_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,k\n7,3\n")
    (tmp_path / "b.csv").write_text("user\n8\n")
    frame = read_table_requests([tmp_path / "a.csv", tmp_path / "b.csv"], ["user"], optional=["k"])
    assert frame["k"].fillna("-").tolist() == ["3", "-"]


def test_text_files_are_rows(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / ".hidden").mkdir(parents=True)
    for name, text in (("b.txt", "zwei\nZeilen"), ("a.txt", "eins"), (".hidden/c.txt", "x")):
        (folder / name).write_text(text, encoding="utf-8")
    (tmp_path / "t.csv").write_text("text\ndrei\n")
    frame = read_table_requests([folder, tmp_path / "t.csv"], ["text"], text_files=True)
    assert frame["text"].tolist() == ["eins", "zwei\nZeilen", "drei"]
    assert [Path(file).name for file in frame["file"]] == ["a.txt", "b.txt", "t.csv"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"agee\n1\n", "no column 'age'; did you mean 'agee'"),
        ("a.csv", b"", "is empty"),
        ("a.jsonl", b"", "has no rows"),
        ("a.xlsx", b"PK", r"files of type '.xlsx' are not supported; give .csv, .tsv, .parquet or .jsonl"),
        ("a.npy", b"x", "files of type '.npy' are not supported"),
    ],
)
def test_file_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table_requests([tmp_path / name], ["age"])


def test_paths_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match="no such file"):
        read_table_requests([tmp_path / "none.csv"], ["age"])
    with pytest.raises(DataError, match=r"is a folder; give \.csv"):
        read_table_requests([tmp_path], ["age"])
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_table_requests([tmp_path / "bad.txt"], ["text"], text_files=True)
    with pytest.raises(DataError, match="gives 'text' alone, but stars must be given too"):
        read_table_requests([tmp_path / "bad.txt"], ["text", "stars"], text_files=True)
    with pytest.raises(DataError, match="no files given"):
        read_table_requests([], ["age"])


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
def test_separator_is_seen_from_the_header(tmp_path: Path, name: str, separator: str) -> None:
    content = '\ufeff"age",id,town\r\n"2,5",x,Ulm\r\n'.replace(",", separator).replace(f"2{separator}5", "2,5").encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    frame = read_table_requests([tmp_path / name], ["age", "town"])
    assert frame[["age", "town"]].to_numpy().tolist() == [["2,5", "Ulm"]]
    optional = read_table_requests([tmp_path / name], [], optional=["town", "k"])
    assert optional["town"].tolist() == ["Ulm"]


def test_the_usual_separator_stands_where_the_header_names_no_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("age;x,town\n1;2,Ulm\n")
    assert read_table_requests([tmp_path / "a.csv"], ["town"])["town"].tolist() == ["Ulm"]
    with pytest.raises(DataError, match="no column 'size'"):
        read_table_requests([tmp_path / "a.csv"], ["size"])


OWN = {
    "renamed": (TableFormat(rename={"file": "age", "a,b": "town"}), '"a,b",file,id\nÜlm,3,x\n'.encode()),
    "renamed already": (TableFormat(rename={"file": "age"}), "town,age,file\nÜlm,3,x\n".encode()),
    "latin": (TableFormat(encoding="latin-1"), "town,age\nÜlm,3\n".encode("latin-1")),
    "latin, but this one is not": (TableFormat(encoding="latin-1"), "town,age\nÜlm,3\n".encode()),
    "another separator": (TableFormat(separator="~"), "town~age\nÜlm~3\n".encode()),
    "spaces": (TableFormat(separator=r"\s+"), "town  age\nÜlm   3\n".encode()),
    "no header": (TableFormat(names=["town", "age"]), "Ülm,3\n".encode()),
    "no header, but this one has": (TableFormat(names=["town", "age"]), "age,town\n3,Ülm\n".encode()),
    "lines above the header": (TableFormat(skip_lines=2), "# a\n# b\ntown,age\nÜlm,3\n".encode()),
    "no quotes": (TableFormat(separator="\t", skip_lines=1, quoting=False), '#\ntown\tage\n"Ülm\t3\n'.encode()),
}


@pytest.mark.parametrize("ending", [".csv", ".txt", ".csv.gz"])
@pytest.mark.parametrize("name", OWN)
def test_the_table_that_a_task_learnt_from_is_read(tmp_path: Path, name: str, ending: str) -> None:
    own, content = OWN[name]
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    frame = read_table_requests([path], ["age", "town"], own=own)
    assert frame[["age", "town"]].to_numpy().tolist() == [["3", '"Ülm' if name == "no quotes" else "Ülm"]]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_columns_are_renamed_in_all_formats(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"file": [3], "town": ["Ulm"]})
    frame.to_parquet(tmp_path / name) if name == "a.parquet" else frame.to_json(
        tmp_path / name, orient="records", lines=True
    )
    read = read_table_requests([tmp_path / name], ["file_", "town"], own=TableFormat(rename={"file": "file_"}))
    assert read[["file_", "town"]].to_numpy().tolist() == [[3, "Ulm"]]
    assert read["file"].tolist() == [str(tmp_path / name)]

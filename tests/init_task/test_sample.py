from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from flywheel.init_task import blocks
from flywheel.init_task.sample import read_sample
from flywheel.project.errors import DataError
from flywheel.reader.format.table_file import TableFile, TableFormat

ROWS = "name,age\nAda,36\nBob,41\n"


def write(folder: Path, content: str | bytes, name: str = "a.csv") -> Path:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / name


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found(tmp_path: Path, separator: str) -> None:
    sample = read_sample(write(tmp_path, ROWS.replace(",", separator)))
    assert list(sample.frame.columns) == ["name", "age"]
    assert sample.frame["age"].tolist() == ["36", "41"]
    assert sample.form == ({} if separator == "," else {"separator": separator})


def test_a_separator_inside_quotes_or_text_does_not_mislead(tmp_path: Path) -> None:
    text = 'id;text\n1;"a, b, c; d"\n2;e, f\n3;"g\nh"\n'
    sample = read_sample(write(tmp_path, text))
    assert sample.form == {"separator": ";"}
    assert sample.frame["text"].tolist() == ["a, b, c; d", "e, f", "g\nh"]


def test_a_tab_is_the_default_of_tsv(tmp_path: Path) -> None:
    assert read_sample(write(tmp_path, ROWS.replace(",", "\t"), "a.tsv")).form == {}
    assert read_sample(write(tmp_path, ROWS, "b.tsv")).form == {"separator": ","}


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("name,age\nZoë,3\n".encode(), "utf-8"),
        (b"\xef\xbb\xbf" + "name,age\nZoë,3\n".encode(), "utf-8"),
        ("name,age\nZoë,3\n".encode("latin-1"), "latin-1"),
        ("name,age\nZoë €,3\n".encode("cp1252"), "cp1252"),
    ],
)
def test_encodings_are_found_and_said(tmp_path: Path, content: bytes, encoding: str) -> None:
    sample = read_sample(write(tmp_path, content))
    assert list(sample.frame.columns) == ["name", "age"]
    assert sample.frame["name"].iloc[0].startswith("Zoë")
    assert sample.form == ({} if encoding == "utf-8" else {"encoding": encoding})
    assert encoding in sample.said


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.csv.gz"])
def test_the_reader_finds_what_the_sample_has(tmp_path: Path, name: str) -> None:
    """What is written into the reader's settings makes it read the same rows."""
    frame = pd.DataFrame({"name": ["Zoë", "b;c", ""], "age": ["1", "2", "3"]})
    path = tmp_path / name
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")))
    else:
        frame.to_csv(path, sep="|", index=False, encoding="latin-1")
    sample = read_sample(path)
    read = pd.concat(TableFile(path, TableFormat(**sample.form)).chunks(2))
    assert sample.frame.to_dict("list") == frame.to_dict("list") == read.to_dict("list")
    assert (sample.num_rows, sample.is_whole) == (3, True)


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "a.csv", "is empty"),
        (b"\n\n", "a.csv", "is empty"),
        (b"name,age\n", "a.csv", "has a header but no rows"),
        (b"name,age,name\n1,2,3\n", "a.csv", "has two columns 'name' \\(columns 1 and 3\\)"),
        (b"name,,age\n1,2,3\n", "a.csv", "column 2 has no name"),
        (b"1.5,2,3\n1,2,3\n", "a.csv", "its first line holds numbers"),
        (b"a,b\n1,2\n1,2,3\n", "a.csv", "row 1: has 3 values, the header 2"),
        (b"a,b\n1,2,3\n1,2,3\n", "a.csv", "row 0: .*more values than the header|more values than the header"),
        ("a,b\n1,2\n".encode("utf-16"), "a.csv", "is UTF-16"),
        (b"PK\x03\x04\x00\x00", "a.csv", "is not text"),
        (b"[1, 2]\n", "a.jsonl", "holds a list, not a JSON object"),
        (b'{"a": 1}\n{"a":\n', "a.jsonl", "row 1: line 2 is not JSON"),
        (b'{"a": [1]}\n', "a.jsonl", "no column of plain values"),
        (b"not parquet", "a.parquet", "is not a Parquet file"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(tmp_path: Path, content: bytes, name: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_sample(write(tmp_path, content, name))


def test_pandas_own_index_has_the_name_that_pandas_gives_it(tmp_path: Path) -> None:
    sample = read_sample(write(tmp_path, ",name\n0,Ada\n1,Bob\n"))
    assert list(sample.frame.columns) == ["Unnamed: 0", "name"] == TableFile(tmp_path / "a.csv").shape()[0]


def test_jsonl_with_gaps_and_nested_values(tmp_path: Path) -> None:
    rows = [{"a": 1, "tags": ["x"]}, {"b": True, "a": None}, {"a": 2.5}]
    sample = read_sample(write(tmp_path, "\n".join(json.dumps(row) for row in rows), "a.jsonl"))
    assert sample.frame.to_dict("list") == {"a": ["1", "", "2.5"], "b": ["", "True", ""]}
    assert sample.nested == ("tags",)


def test_a_large_table_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WHOLE_BYTES", 40_000), ("HEAD_BYTES", 10_000), ("BLOCK_BYTES", 3000), ("NUM_BLOCKS", 10)):
        monkeypatch.setattr(blocks, name, value)
    text = "row,word\n" + "".join(f"{row:06d},w{row % 7}\n" for row in range(50_000))
    sample = read_sample(write(tmp_path, text))
    assert not sample.is_whole
    assert 1000 < len(sample.frame) <= 40_000 / 10
    assert abs(sample.num_rows - 50_000) < 500
    rows = sample.frame["row"].astype(int)
    assert (sample.frame["word"] == "w" + (rows % 7).astype(str)).all()
    assert rows.max() > 40_000
    assert "places drawn at random" in sample.said
    packed = write(tmp_path, gzip.compress(text.encode()), "b.csv.gz")
    assert not read_sample(packed).is_whole


def test_a_large_table_with_line_breaks_in_values_is_read_from_its_head_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WHOLE_BYTES", 40_000), ("HEAD_BYTES", 10_000), ("BLOCK_BYTES", 3000), ("NUM_BLOCKS", 10)):
        monkeypatch.setattr(blocks, name, value)
    text = "row,word\n" + "".join(f'{row:06d},"a\nb"\n' for row in range(20_000))
    sample = read_sample(write(tmp_path, text))
    assert sample.frame["word"].unique().tolist() == ["a\nb"]
    assert sample.frame["row"].astype(int).tolist() == list(range(len(sample.frame)))


def test_a_large_parquet_file_is_sampled(tmp_path: Path) -> None:
    frame = pd.DataFrame({"row": range(150_000), "word": "x"})
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=5000)
    sample = read_sample(tmp_path / "a.parquet")
    assert (sample.num_rows, sample.is_whole) == (150_000, False)
    assert 50_000 <= len(sample.frame) <= 100_000
    assert sample.frame["row"].astype(int).max() > 100_000

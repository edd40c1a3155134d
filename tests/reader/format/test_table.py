from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import pytest

from flywheel.project.errors import DataError
from flywheel.reader.format.table import csv_chunks, jsonl_chunks, jsonl_shape

LINES = '\ufeff{"a": 1, "b": [1, {"c": 2}]}\n\n  \n{"b": null, "d": "ü"}\n{"a": 2.5}'


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("rows", [1, 2, 10])
def test_objects_become_rows(tmp_path: Path, name: str, rows: int) -> None:
    content = LINES.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    columns, num_rows = jsonl_shape(tmp_path / name)
    assert (columns, num_rows) == (["a", "b", "d"], 3)
    frames = list(jsonl_chunks(tmp_path / name, rows, columns))
    assert [len(frame) for frame in frames] == {1: [1, 1, 1], 2: [2, 1], 10: [3]}[rows]
    values = [row for frame in frames for row in frame.to_numpy().tolist()]
    assert values == [[1, [1, {"c": 2}], None], [None, None, "ü"], [2.5, None, None]]
    assert [row for frame in frames for row in frame.index] == [0, 1, 2]


def test_a_chunk_is_read_before_the_rest_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n' * 3 + "no JSON\n")
    frames = jsonl_chunks(tmp_path / "a.jsonl", 2)
    assert len(next(frames)) == 2
    with pytest.raises(DataError, match="row 3: line 4 is not JSON"):
        list(itertools.islice(frames, 5))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]\n", "row 0: line 1 is not a JSON object but a list"),
        (b'{"a": 1}\n3\n', "row 1: line 2 is not a JSON object but a int"),
        (b"\xff\n", "is not UTF-8"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        jsonl_shape(tmp_path / "a.jsonl")


def test_other_encodings(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"a": "é"}\n'.encode("latin-1"))
    assert next(jsonl_chunks(tmp_path / "a.jsonl", 5, encoding="latin-1"))["a"].tolist() == ["é"]


TEXTS: dict[str, Any] = {"header": 0, "dtype": str, "na_filter": False}


@pytest.mark.parametrize("rows", [1, 2, 10])
@pytest.mark.parametrize(
    ("content", "options", "row"),
    [
        ("a,b,c\n1,2,3\n1,2\n", {}, 1),
        ("a,b,c\n1,,\n,\n", {}, None),
        ("a,b,c\n1,,\nx,\n", {}, 1),
        ('a;b\n"1\n;";\n2\n', {"sep": ";"}, 1),
        ("# note\n1,2\n1\n", {"header": None, "names": ["a", "b"], "skiprows": 1}, 1),
        ("a  b\n1 2\n1\n", {"sep": r"\s+"}, 1),
        ("a,b\n1,\n\n  \n2,3\n", {}, None),
    ],
)
def test_a_row_that_ends_early_is_an_error(
    tmp_path: Path, content: str, options: dict[str, Any], row: int | None, rows: int
) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content.encode()))
    chunks = csv_chunks(tmp_path / "a.csv.gz", rows, **(TEXTS | options))
    if row is None:
        assert sum(map(len, chunks)) == content.count("\n") - 1
    else:
        with pytest.raises(DataError, match=rf"a\.csv\.gz, row {row}: has fewer values than the header"):
            list(chunks)

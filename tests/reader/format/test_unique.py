"""Two columns of one name are refused by every reader, with both places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.feedback.outcomes import add_outcomes
from flywheel.init_task.sample import read_sample
from flywheel.modality.image.data.csv_images import CsvImageReader
from flywheel.modality.interactions.data.reader import InteractionsReader
from flywheel.preprocessor.table_requests import read_table_requests
from flywheel.project.errors import DataError
from flywheel.reader.format.unique import num_keys
from flywheel.reader.table import TableReader

TEXTS = {
    "a.csv": "a,a,y\n1,2,p\n3,4,q\n",
    "quoted.csv": '"a",y,"a"\n1,p,2\n',
    "a.tsv": "a\ta\ty\n1\t2\tp\n",
    "a.jsonl": '{"a": 1, "y": "p"}\n{"a": 1, "a": 2, "y": "q"}\n',
}
SAID = r"two columns 'a' \(columns 1 and [23]\)|row 1: line 2: the key 'a' is there twice \(keys 1 and 2 of an object\)"
DOORS: dict[str, Callable[[Path], Any]] = {
    "a stage": lambda path: TableReader(path.name, "y").read(path.parent),
    "a test set": lambda path: TableReader("fine.csv", "y", test_path=path.name).read(path.parent),
    "a side table": lambda path: TableReader("fine.csv", "y", joins=[{"path": path.name, "by": "a"}]).read(path.parent),
    "interactions": lambda path: InteractionsReader(path.name, "a", "y").read(path.parent),
    "predict": lambda path: read_table_requests([path], ["y"]),
    "init-task": read_sample,
    "outcomes": lambda path: add_outcomes(None, path, "me"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", [*TEXTS, "a.parquet"])
@pytest.mark.parametrize("door", DOORS)
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path, name: str, door: str) -> None:
    (tmp_path / "fine.csv").write_text("a,y\n1,p\n2,q\n")
    if name in TEXTS:
        (tmp_path / name).write_text(TEXTS[name])
    else:
        pq.write_table(pa.Table.from_arrays([pa.array(["1"])] * 3, names=["a", "y", "a"]), tmp_path / name)
    with pytest.raises(DataError, match=SAID) as caught:
        DOORS[door](tmp_path / name)
    assert caught.value.file.endswith(name)


def test_a_header_of_pixels_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label,p1,p1\n3,0,255\n")
    with pytest.raises(DataError, match=r"two columns 'p1' \(columns 2 and 3\)"):
        CsvImageReader("a.csv", image_size=[1, 2], channels=1, label_column="label", header=True).read(tmp_path)


def test_names_that_only_look_alike_are_different_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,A,a.1,a ,y\n1,2,3,4,p\n")
    frame = next(TableReader("a.csv", "y").read(tmp_path)["train"].chunks(9))
    assert frame[["a", "A", "a.1", "a "]].to_numpy().tolist() == [["1", "2", "3", "4"]]


def test_keys_are_counted_without_a_look_into_lists_of_numbers() -> None:
    body = {"instances": [{"a": 1, "b": {"c": [1, {"d": 2}]}}, {"a": 3}]}
    assert num_keys(body, 5) == num_keys(body, 99) == 6
    assert num_keys([1, [2]], 0) == 0

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from flywheel.prepare import processed_key
from flywheel.preprocessor.pipeline.engine import Frames, LocalEngine, Pass, used
from flywheel.preprocessor.pipeline.engine_ray import connected
from flywheel.preprocessor.pipeline.ray_task import Opening
from flywheel.project.compose import compose_task
from flywheel.project.config import SAME_DATA, PreprocessConfig, TaskConfig
from flywheel.project.errors import ConfigError, DataError, FlywheelError
from flywheel.project.types import Split


def split_of(rows: int) -> Split:
    def chunks(size: int) -> Iterator[pd.DataFrame]:
        for first in range(0, rows, size):
            index = pd.RangeIndex(first, min(first + size, rows))
            yield pd.DataFrame({"number": list(index), "label": "a"}, index=index)

    return Split(rows, chunks, "numbers.csv")


def test_work_sees_the_used_rows_and_their_parts_in_order() -> None:
    parts = np.array([0, -1, 1, -1, -1, -1, 2, 0, -1, 1], np.int8)
    engine = LocalEngine({"train": split_of(10)})
    found = list(engine.each(Pass("train", "look", 3, parts), lambda frame, own: (list(frame.index), own.tolist())))
    assert found == [([0, 2], [0, 1]), ([6, 7], [2, 0]), ([9], [1])]
    assert [len(frame) for frame in Frames(engine, Pass("train", "look", 3, parts))] == [2, 2, 1]
    assert list(Frames(engine, Pass("train", "look", 4)).map(len)) == [4, 4, 2]


def test_parts_may_be_those_of_the_rows_from_some_row_on() -> None:
    frame = pd.DataFrame({"label": list("abc")}, index=range(5, 8))
    found = used(frame, np.array([-1, 0, 1, 2, 0], np.int8), 4)
    assert found is not None
    assert found[1].tolist() == [0, 1, 2]
    assert used(frame, np.full(8, -1, np.int8)) is None
    assert used(frame.iloc[:0], None) is None


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(ConfigError, match=r"Ray is not installed .*; pip install 'flywheel\[ray\]'"), connected(None):
        pass


@pytest.mark.parametrize(
    ("address", "said"),
    [("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"), ("head", "is not an address: write host:6379"),
     ("127.0.0.1/x:1", "is not an address")],
)  # fmt: skip
def test_a_cluster_that_is_not_there_is_one_line(root: Path, address: str, said: str) -> None:
    program = (
        "import sys; from flywheel.project.stage import explained\n"
        "from flywheel.preprocessor.pipeline.engine_ray import connected\n"
        f"with explained() as outcome, connected({address!r}): pass\nsys.exit(outcome.code)"
    )
    env = {**os.environ, "PYTHONPATH": str(root / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_a_node_without_the_folder_says_so(tmp_path: Path) -> None:
    opening = Opening("key", tmp_path / "elsewhere", None)  # type: ignore[arg-type]
    object.__setattr__(opening, "raw", type("Raw", (), {"raw_dir": Path("data/raw/toy")}))
    with (
        pytest.raises(FlywheelError, match=r"elsewhere/data/raw/toy: node \S+ does not see this folder"),
        opening.split("train", 3),
    ):
        pass


@pytest.mark.parametrize("error", [FlywheelError("a", where="b", fix="c"), DataError("f", 3, "why", fix="m")])
def test_errors_travel_whole(error: FlywheelError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__


def test_engine_and_chunks_are_no_part_of_what_decides_the_data(
    make_task: Callable[..., TaskConfig], project: Path
) -> None:
    task = make_task()
    key = processed_key(task)
    for same in ({"engine": "ray"}, {"ray_address": "head:6379"}, {"chunk_rows": 7}):
        assert processed_key(replace(task, preprocess=replace(task.preprocess, **same))) == key
    for other in ({"seed": 1}, {"validation": 0.3}, {"fold": 1}):
        assert processed_key(replace(task, preprocess=replace(task.preprocess, **other))) != key


def test_the_stage_names_every_other_setting_and_every_group_has_them(root: Path) -> None:
    """DVC refuses a parameter that `params.yaml` lacks, so each group must state all that the stage names."""
    stage = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]["preprocess"]["do"]
    named = {name.rpartition(".preprocess.")[2] for name in stage["params"] if ".preprocess" in name}
    assert named == {field.name for field in fields(PreprocessConfig)} - set(SAME_DATA)
    for group in sorted(set((root / "conf/preprocess").glob("*.yaml")) - {root / "conf/preprocess/base.yaml"}):
        composed = compose_task(root, ["task=digits", f"preprocess={group.stem}"])
        assert set(composed["preprocess"]) == {field.name for field in fields(PreprocessConfig)}, group

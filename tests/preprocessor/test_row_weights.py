"""What rows count: read, checked and written beside them, and shared by the copies of a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from flywheel.learner.task_check import check_task
from flywheel.preprocessor.pipeline.run import preprocess
from flywheel.project.compose import compose_task
from flywheel.project.config import ReaderConfig, TaskConfig
from flywheel.project.errors import ConfigError, DataError
from flywheel.project.params import task_from

Run = Callable[..., Any]
SPLITS = ("train", "validation", "test")


def rows(number: int = 200) -> pd.DataFrame:
    """Rows of two numbers, with a weight each that tells which row it is."""
    generator = np.random.default_rng(0)
    label = np.where(np.arange(number) % 2, "yes", "no")
    frame = pd.DataFrame(generator.normal(size=(number, 2)).round(6), columns=["a", "weight"])
    return frame.assign(label=label, count=np.arange(number) / 8 + 0.5)


@pytest.fixture(scope="module")
def table(root: Path) -> TaskConfig:
    task = task_from(compose_task(root, ["task=breast_cancer"]), "breast_cancer")
    target = {"_target_": "flywheel.preprocessor.target.ClassTarget"}
    return replace(task, name="own", preprocess=replace(task.preprocess, target=target))


@pytest.fixture
def run(tmp_path: Path, table: TaskConfig) -> Run:
    """Preprocess a table; gives the arrays of each part by row, `meta.json` and `profile.json`."""

    def go(frame: pd.DataFrame, weight: str | None = "count", said: pd.DataFrame | None = None, **settings: Any) -> Any:
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "feedback").mkdir(exist_ok=True)
        frame.to_csv(tmp_path / "raw/t.csv", index=False)
        if said is not None:
            said.to_parquet(tmp_path / "feedback/words.parquet")
        read = {"_target_": "flywheel.reader.table.TableReader", "path": "t.csv", "label_column": "label"}
        read |= {"weight_column": weight} if weight else {}
        data = replace(table.data, reader=ReaderConfig(read))
        task = replace(table, data=data, preprocess=replace(table.preprocess, **settings))
        meta = preprocess(task, tmp_path / "raw", tmp_path / "feedback", tmp_path / "out")
        parts = {part: load_file(tmp_path / "out" / f"{part}.safetensors") for part in SPLITS}
        return parts, meta, json.loads((tmp_path / "out/profile.json").read_text())

    return go


def weights_of(part: dict[str, Any]) -> dict[int, float]:
    return dict(zip(part["row"].tolist(), part["weight"].tolist(), strict=True))


def test_every_part_has_the_weights_of_its_rows_and_no_input_has_them(run: Run) -> None:
    frame = rows()
    parts, meta, profile = run(frame)
    for part in parts.values():
        assert part["weight"].dtype == np.float32
        assert weights_of(part) == {row: frame["count"][row] for row in part["row"].tolist()}
    plain, plain_meta, plain_profile = run(frame.drop(columns="count"), None)
    assert meta["weighted"] == list(SPLITS)
    assert "weighted" not in plain_meta
    for name, part in plain.items():
        assert part.keys() == parts[name].keys() - {"weight"}
        assert all(np.array_equal(array, parts[name][key]) for key, array in part.items())
        assert "weight" not in plain_profile["splits"][name]
    held = parts["train"]["weight"].astype(float)
    assert profile["splits"]["train"]["weight"] == pytest.approx(
        {"min": held.min(), "max": held.max(), "mean": held.mean(),
         "effective_rows": held.sum() ** 2 / (held**2).sum()}
    )  # fmt: skip


@pytest.mark.parametrize("bad", ["0", "-1", "inf", "much", "", "1e30"])
def test_a_bad_weight_is_a_fault_of_its_row(run: Run, bad: str) -> None:
    frame = rows()
    frame["count"] = frame["count"].astype(str)
    frame.loc[7, "count"] = bad
    parts, _, profile = run(frame)
    assert sum(len(part["row"]) for part in parts.values()) == 199
    assert 7 not in [row for part in parts.values() for row in part["row"].tolist()]
    (reason,) = profile["dropped"]["train"]["reasons"]
    assert reason["why"] == "its weight is missing, or not a number above 0 (1e-15 to 1e+15)"
    assert reason["rows"] == [7]


def test_too_many_bad_weights_fail_the_stage(run: Run) -> None:
    frame = rows()
    frame["count"] = frame["count"].map(lambda weight: f"{weight:.2f}".replace(".", ","))
    with pytest.raises(DataError, match=r"200 of 200 train rows cannot be used .* its weight is missing, or not a"):
        run(frame)


def test_feedback_counts_as_the_mean_row_of_train(run: Run) -> None:
    said = rows(3).drop(columns="count").assign(a=9.0)
    parts, _, _ = run(rows(), said=said)
    weights = weights_of(parts["train"])
    assert {200, 201, 202} <= weights.keys()
    own = [weight for row, weight in weights.items() if row < 200]
    assert [weights[row] for row in (200, 201, 202)] == pytest.approx([np.mean(own)] * 3)


def test_copies_in_train_count_once_together(run: Run) -> None:
    """Whole rows are copies; a row with the same inputs and another label is an observation of its own."""
    frame = rows().drop(columns="count")
    frame = pd.concat([frame, frame[:60], frame[:30], frame[:30].assign(label="maybe")], ignore_index=True)
    parts, meta, profile = run(frame, None, overlap="weight")
    assert sum(len(part["row"]) for part in parts.values()) == len(frame)
    assert meta["weighted"] == ["train"]
    assert "weight" not in parts["test"]
    train = frame.loc[parts["train"]["row"]]
    together = pd.Series(parts["train"]["weight"], index=train.index).groupby([train[name] for name in train.columns])
    assert set(together.size()) == {1, 2, 3}
    assert together.sum().to_numpy() == pytest.approx(1)
    assert profile["splits"]["train"]["weight"]["min"] == pytest.approx(1 / 3)


def test_copies_share_the_weights_that_they_are_given(run: Run) -> None:
    frame = pd.concat([rows(), rows()[:60]], ignore_index=True)
    parts, meta, _ = run(frame, overlap="weight")
    assert meta["weighted"] == list(SPLITS)
    held = set(parts["train"]["row"].tolist())
    for row, weight in weights_of(parts["train"]).items():
        other = row + 200 if row < 60 else row - 200
        assert weight == frame["count"][row] / (2 if other in held else 1)
    assert weights_of(parts["test"]) == {row: frame["count"][row] for row in parts["test"]["row"].tolist()}


def test_chunks_change_no_byte_of_weighted_data(run: Run) -> None:
    frame = pd.concat([rows(), rows()[:60]], ignore_index=True)
    wanted = run(frame, overlap="weight")[1]["sha256"]
    assert run(frame, overlap="weight", chunk_rows=7)[1]["sha256"] == wanted


def test_a_loss_of_pairs_is_refused_where_rows_will_have_weights(root: Path) -> None:
    weighted = (
        ["task=movielens", "preprocess.overlap=weight"],
        ["task=breast_cancer", "+data.reader.read.weight_column=w"],
    )
    for words in weighted:
        with pytest.raises(ConfigError, match=r"loss.criterion: BPR gives no loss for each row"):
            compose_task(root, ["loss=bpr", *words], check=check_task)

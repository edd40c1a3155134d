"""Equal rows of coarse tables are observations, not copies: each is used, and what is equal is said."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from flywheel.preprocessor.pipeline.run import preprocess
from flywheel.project.compose import compose_task
from flywheel.project.config import ReaderConfig, TaskConfig
from flywheel.project.params import task_from

Run = Callable[..., Any]
SPLITS = ("train", "validation", "test")
NOWHERE = Path("/nowhere")


def passengers() -> pd.DataFrame:
    """300 rows of two coarse columns, as of a ship's passengers: twelve different inputs, and two labels of most."""
    generator = np.random.default_rng(0)
    rank, sex = generator.choice(["1st", "2nd", "3rd"], 300), generator.choice(["f", "m"], 300)
    spouse = generator.integers(0, 2, 300)
    survived = generator.random(300) < np.where(sex == "f", 0.7, 0.2)
    label = np.where(survived, "survived", "died")
    return pd.DataFrame({"class_": rank, "sex": sex, "spouse": spouse, "label": label})


@pytest.fixture(scope="module")
def table(root: Path) -> TaskConfig:
    settings = compose_task(root, ["task=breast_cancer"])
    task = task_from(settings, "breast_cancer")
    read = {"_target_": "flywheel.reader.table.TableReader", "path": "t.csv", "label_column": "label"}
    target = {"_target_": "flywheel.preprocessor.target.ClassTarget"}
    return replace(
        task,
        name="ship",
        data=replace(task.data, reader=ReaderConfig(read)),
        preprocess=replace(task.preprocess, target=target),
    )


@pytest.fixture
def run(tmp_path: Path, table: TaskConfig) -> Run:
    """Preprocess a table, and give the row numbers of each part and the profile."""

    def go(frame: pd.DataFrame, feedback: pd.DataFrame | None = None, **settings: Any) -> Any:
        (tmp_path / "raw").mkdir(exist_ok=True)
        frame.to_csv(tmp_path / "raw/t.csv", index=False)
        folder = tmp_path / "feedback" / "ship"
        if feedback is not None:
            folder.mkdir(parents=True)
            feedback.to_parquet(folder / "words.parquet")
        task = replace(table, preprocess=replace(table.preprocess, **settings))
        preprocess(task, tmp_path / "raw", folder if feedback is not None else NOWHERE, tmp_path / "out")
        rows = {part: load_file(tmp_path / "out" / f"{part}.safetensors")["row"].tolist() for part in SPLITS}
        return rows, json.loads((tmp_path / "out/profile.json").read_text())

    return go


def test_every_row_is_used(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    frame = passengers()
    with caplog.at_level(logging.INFO, logger="flywheel"):
        rows, profile = run(frame)
    assert sorted(rows["train"] + rows["validation"] + rows["test"]) == list(range(300))
    assert len(rows["test"]) == 60
    share = (frame["label"] == "survived").mean()
    assert (frame["label"].iloc[rows["test"]] == "survived").mean() == pytest.approx(share, abs=0.01)
    assert all(found["dropped"] == 0 for found in profile["duplicates"].values())
    assert "train 192, validation 48, test 60; dropped: 0 bad rows, 0 duplicates within train, 0 equal" in caplog.text
    assert "60 of 60 test rows have all inputs of a row outside test" in caplog.text
    assert "300 of 300 rows have the inputs of another row and another label" in caplog.text


def test_dropping_is_a_choice_that_no_test_row_is_lost_by(run: Run) -> None:
    frame = passengers()
    frame.loc[:149, "spouse"] = np.arange(150) + 2  # half of the rows are like no other
    kept = run(frame)[0]["test"]
    rows, profile = run(frame, overlap="drop")
    assert rows["test"] == kept, "the draw does not depend on what is dropped"
    inputs = frame.drop(columns="label").agg(tuple, axis=1)
    assert not set(inputs[rows["train"] + rows["validation"]]) & set(inputs[rows["test"]])
    assert profile["duplicates"]["train_in_test"]["dropped"] == profile["duplicates"]["train_in_test"]["num_rows"] > 0
    rows, profile = run(frame, drop_duplicates=True)
    assert rows["test"] == kept
    train = frame.iloc[rows["train"]]
    assert not train.duplicated().any(), "one of each inputs and label"
    assert train.drop(columns="label").duplicated().any(), "both labels of the same inputs"
    assert profile["duplicates"]["within_train"]["dropped"] > 0


def test_folds_hold_every_row_outside_test_once(run: Run) -> None:
    frame = passengers()
    found = [run(frame, fold=fold, num_folds=3)[0] for fold in range(3)]
    assert all(rows["test"] == found[0]["test"] for rows in found)
    held = sorted(row for rows in found for row in rows["validation"])
    assert held == sorted(set(range(300)) - set(found[0]["test"]))


def test_a_correction_is_used_though_train_or_test_has_its_inputs(run: Run) -> None:
    frame = passengers()
    feedback = frame.iloc[:4].assign(label="died")
    rows, profile = run(frame, feedback)
    assert {300, 301, 302, 303} <= set(rows["train"])
    assert profile["feedback"] | {"sha256": ""} == {"num_rows": 4, "used": 4, "sha256": ""}


def test_numbers_as_labels_tell_rows_apart(run: Run, table: TaskConfig) -> None:
    frame = passengers().assign(label=np.arange(300) // 2 % 7 * 1.5)
    target = {"_target_": "flywheel.preprocessor.number_target.NumberTarget"}
    rows, profile = run(frame, target=target, drop_duplicates=True)
    train = frame.iloc[rows["train"]]
    assert not train.duplicated().any()
    assert len(train) > train.drop(columns="label").drop_duplicates().shape[0], "another number is another row"
    assert profile["duplicates"]["within_train"]["other_label"] > 0

"""Three wrong values among thousands do not decide what is kept: inputs are clipped, and the monitor is robust."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from flywheel.learner.fit import Fitted, fit
from flywheel.learner.metric import BrierScore
from flywheel.preprocessor.pipeline.run import preprocess
from flywheel.project.compose import compose_task
from flywheel.project.config import ReaderConfig, TaskConfig
from flywheel.project.params import task_from

OUTLIERS = {"y": 58.9, "z": 31.8}


def stones(num_rows: int = 900) -> pd.DataFrame:
    """Stones with three lengths, and a price by their volume; every third row is for validation."""
    generator = np.random.default_rng(0)
    carat = generator.lognormal(-0.4, 0.5, num_rows)
    side = 6.2 * carat[:, None] ** (1 / 3) * generator.normal(1, 0.01, (num_rows, 3)) * [1, 1, 0.62]
    price = 4000 * carat**1.5 * generator.normal(1, 0.05, num_rows)
    frame = pd.DataFrame(side.round(2), columns=["x", "y", "z"]).assign(price=price.round(0))
    part = np.array(["train", "validation", "train", "train", "test"])[np.arange(num_rows) % 5]
    return frame.assign(part=part)


def trained(root: Path, folder: Path, frame: pd.DataFrame, *overrides: str) -> tuple[Fitted, TaskConfig, Any]:
    """Preprocess and train as a task that `init-task` writes."""
    overrides = ("trainer=early_stopping", "scheduler=plateau", "trainer.accelerator=cpu", *overrides)
    task = task_from(compose_task(root, ["task=diabetes", *overrides]), "stones")
    read = {"_target_": "flywheel.reader.table.TableReader", "path": "t.csv", "label_column": "price"}
    read["split_column"] = "part"
    inputs = {key: value for key, value in task.preprocess.inputs.items() if key != "types"}
    task = replace(
        task,
        data=replace(task.data, reader=ReaderConfig(read)),
        preprocess=replace(task.preprocess, inputs=inputs),
    )
    (folder / "raw").mkdir(parents=True)
    (folder / "model").mkdir()
    frame.to_csv(folder / "raw/t.csv", index=False)
    meta = preprocess(task, folder / "raw", Path("/nowhere"), folder / "data")
    nothing: Any = lambda *_: None  # noqa: E731
    found = fit(task, folder / "data", meta, folder / "model", folder / "last.ckpt", on_start=nothing, on_row=nothing)
    return found, task, json.loads((folder / "data/profile.json").read_text())


def test_three_outliers_do_not_choose_the_epoch(root: Path, tmp_path: Path) -> None:
    clean = stones(3000)
    wrong = clean.copy()
    for row, (name, value) in zip((1, 6, 11), (("y", 58.9), ("y", 31.8), ("z", 31.8)), strict=True):
        wrong.loc[row, name] = value
    assert set(wrong.loc[[1, 6, 11], "part"]) == {"validation"}
    size = ("scheduler.patience=6", "trainer.max_epochs=20", "trainer.batch_size=128")
    usual, _, _ = trained(root, tmp_path / "usual", clean, *size)
    kept, _, profile = trained(root, tmp_path / "kept", wrong, *size)
    facts = profile["preprocessor"]["columns"]
    assert facts["y"]["max"] < facts["y"]["clipped_to"][1] < 31
    assert profile["splits"]["validation"]["clipped: y"] == 2
    assert profile["splits"]["validation"]["clipped: z"] == 1
    assert "clipped: y" not in profile["splits"]["train"]
    scores = [row["validation/rmse"] for row in usual.rows]
    assert kept.epoch > 5
    assert scores[kept.epoch - 1] < 1.25 * min(scores), "an epoch that is good for the other rows"


def test_outliers_in_train_move_neither_scale_nor_bounds(root: Path, tmp_path: Path) -> None:
    from flywheel.modality.tabular.data.preprocessor import TabularPreprocessor

    clean = stones()[["x", "y", "z"]]
    wrong = clean.copy()
    wrong.loc[[3, 4], "y"], wrong.loc[5, "z"] = (58.9, 31.8), 31.8
    made = []
    for frame in (clean, wrong):
        preprocessor = TabularPreprocessor()
        preprocessor.fit([frame.assign(label=1.0)])
        made.append(preprocessor)
    scales = [preprocessor.meta()["inputs"]["numeric"] for preprocessor in made]
    np.testing.assert_allclose(scales[0]["std"], scales[1]["std"], rtol=0.15)
    again = TabularPreprocessor.from_json(json.loads(json.dumps(made[1].to_json())))
    for preprocessor in (made[1], again):
        found = preprocessor.transform(pd.DataFrame({"x": [5.0], "y": ["58.9"], "z": [1e9]}))["numeric"][0]
        assert found[0] == 5.0
        assert found[1] < 20
        assert found[2] < 20
    counts = pd.DataFrame({"n": [*[0] * 95, 1, 2, 3, 4, 5], "label": "a"})
    preprocessor = TabularPreprocessor()
    preprocessor.fit([counts])
    found = preprocessor.transform(pd.DataFrame({"n": [0, 5, 1e6]}))["numeric"][:, 0].tolist()
    assert found[:2] == [0, 5], "rare numbers are no outliers"
    assert found[2] < 20


def test_training_ends_when_it_no_longer_helps_and_the_rate_falls(root: Path, tmp_path: Path) -> None:
    short = ("trainer.early_stopping.patience=4", "scheduler.patience=1", "optimizer.lr=0.05", "trainer.max_epochs=200")
    found, _, _ = trained(root, tmp_path / "a", stones(300), *short)
    assert 5 <= len(found.rows) < 100
    assert found.epoch == len(found.rows) - 4, "four more epochs brought nothing"
    rates = [row["lr"] for row in found.rows]
    assert rates[0] == pytest.approx(0.05)
    assert rates[-1] < 0.02
    assert load_file(tmp_path / "a/model/model.safetensors")


@pytest.mark.parametrize(("logits", "score"), [([[0.0, 0.0], [0.0, 0.0]], 0.5), ([[99.0, 0.0], [99.0, 0.0]], 1.0)])
def test_brier_score(logits: list[list[float]], score: float) -> None:
    metric = BrierScore()
    metric.update(torch.tensor(logits), torch.tensor([0, 1]))
    assert float(metric.compute()) == pytest.approx(score)
    single = BrierScore()
    single.update(torch.tensor(logits)[:, 1] - torch.tensor(logits)[:, 0], torch.tensor([0, 1]))
    assert float(single.compute()) == pytest.approx(score)

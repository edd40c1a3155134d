"""Tables from the bundled file to a registered model: the parts work together, by configuration alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
STAGES = ("download", "preprocess", "train", "evaluate", "export", "register")


def run_all(project: Path, run_flywheel: Run, task: str) -> dict[str, Any]:
    (project / "data/feedback" / task).mkdir(parents=True, exist_ok=True)
    for stage in STAGES:
        done = run_flywheel(stage, "--task", task)
        assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((project / "artifacts" / task / "evaluation.json").read_text())
    return found


@pytest.mark.slow
def test_breast_cancer_reaches_its_figure(project: Path, with_tasks: Callable[..., None], run_flywheel: Run) -> None:
    with_tasks("breast_cancer")
    metrics = run_all(project, run_flywheel, "breast_cancer")
    assert metrics["auc"] >= 0.99
    assert set(metrics["baseline"]) == {"gradient_boosting", "linear_model", "majority"}
    decision = json.loads((project / "artifacts/breast_cancer/decision.json").read_text())
    assert decision["promoted"]
    assert decision["metric"] == "auc"
    profile = json.loads((project / "data/processed/breast_cancer/profile.json").read_text())
    assert {column["kind"] for column in profile["preprocessor"]["columns"].values()} == {"number"}
    raw = pd.read_csv(project / "data/raw/breast_cancer/breast_cancer.csv", skiprows=1, header=None)
    names = list(profile["preprocessor"]["columns"])
    raw.iloc[:3, :-1].set_axis(names, axis=1).to_csv(project / "requests.csv", index=False)
    done = run_flywheel("command.cli", "predict", "breast_cancer", "requests.csv", "--output", "answers.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    answers = pd.read_csv(project / "answers.csv")
    assert answers["label"].tolist() == ["malignant"] * 3


@pytest.mark.slow
def test_diabetes_beats_the_mean_and_answers_in_its_own_units(
    project: Path, with_tasks: Callable[..., None], run_flywheel: Run
) -> None:
    with_tasks("diabetes")
    metrics = run_all(project, run_flywheel, "diabetes")
    assert metrics["rmse"] < 58
    assert metrics["baseline"]["mean"]["rmse_difference_high"] < 0
    parity = json.loads((project / "artifacts/diabetes/export/parity.json").read_text())
    assert parity
    row = {"age": 59, "sex": 2, "bmi": 32.1, "blood_pressure": 101, "cholesterol": 157, "ldl": 93.2, "hdl": 38,
           "cholesterol_ratio": 4, "triglycerides_log": 4.86, "glucose": 87}  # fmt: skip
    (project / "requests.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({**row, "bmi": None}) + "\n")
    done = run_flywheel("command.cli", "predict", "diabetes", "requests.jsonl", "--output", "answers.jsonl")
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [json.loads(line) for line in (project / "answers.jsonl").read_text().splitlines()]
    assert all(50 < answer["label"] < 350 for answer in answers)
    (project / "bad.jsonl").write_text(json.dumps({**row, "bmi": "heavy"}) + "\n")
    done = run_flywheel("command.cli", "predict", "diabetes", "bad.jsonl")
    assert done.returncode == 2
    assert "bad.jsonl, row 0: bmi: 'heavy' is not a finite number" in done.stderr


@pytest.mark.slow
def test_reference_row_is_learnt_step_by_step(
    root: Path, project: Path, with_tasks: Callable[..., None], run_flywheel: Run
) -> None:
    with_tasks("ref_regression")
    (project / "data/reference").mkdir(parents=True)
    (project / "data/reference/one_row.csv").write_bytes((root / "data/reference/one_row.csv").read_bytes())
    for stage in ("download", "preprocess", "train"):
        done = run_flywheel(stage, "--task", "ref_regression")
        assert done.returncode == 0, done.stdout + done.stderr
    losses = pd.read_csv(project / "artifacts/ref_regression/model/history.csv")["train/loss"]
    assert len(losses) == 10
    assert losses.is_monotonic_decreasing
    assert losses.is_unique

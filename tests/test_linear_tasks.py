"""Models whose weights an estimator finds, from the source to a version that answers."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

STAGES = ("download", "preprocess", "train", "evaluate", "export", "register")
Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


def answered(project: Path, run: Run, task: str, request: dict[str, object]) -> dict[str, object]:
    """Run all stages, and give the answer of the version that they come to."""
    (project / "data/feedback" / task).mkdir(parents=True, exist_ok=True)
    for stage in STAGES:
        done = run(stage, "--task", task)
        assert done.returncode == 0, done.stdout + done.stderr
    parity = json.loads((project / "artifacts" / task / "export/parity.json").read_text())
    assert parity["fp32"]["max_difference"] <= 1e-5 * (100 if task == "diabetes" else 1)  # of answers up to 350
    (project / "requests.jsonl").write_text(json.dumps(request) + "\n")
    done = run("command.cli", "predict", task, "requests.jsonl", "--output", "answers.jsonl")
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, object] = json.loads((project / "answers.jsonl").read_text())
    return answer


def test_ridge_regression(project: Path, with_tasks: Callable[..., None], run_flywheel: Run) -> None:
    file = project / "conf/task/diabetes.yaml"
    text = file.read_text().replace("/model: mlp_tabular", "/model: ridge")
    file.write_text(re.sub(r"^model:\n(  .*\n)+", "", text, flags=re.MULTILINE))
    with_tasks("diabetes")
    row = {"age": 59, "sex": 2, "bmi": 32.1, "blood_pressure": 101, "cholesterol": 157, "ldl": 93.2, "hdl": 38,
           "cholesterol_ratio": 4, "triglycerides_log": 4.86, "glucose": 87}  # fmt: skip
    answer = answered(project, run_flywheel, "diabetes", row)
    assert 50 < float(str(answer["label"])) < 350
    metrics = json.loads((project / "artifacts/diabetes/evaluation.json").read_text())
    assert metrics["rmse"] < 58
    history = pd.read_csv(project / "artifacts/diabetes/model/history.csv")
    assert history["penalty"].iloc[[0, -1]].tolist() == pytest.approx([1e4, 1e-4])


def test_tfidf_of_words_and_pieces(
    root: Path, project: Path, with_tasks: Callable[..., None], run_flywheel: Run
) -> None:
    data, task = project / "conf/data/tweets.yaml", project / "conf/task/tweets.yaml"
    text = re.sub(r"\n      (sha256|num_bytes): .*", "", data.read_text())
    text = text.replace("Filtered.csv:\n", "Filtered.csv: {}\n")
    data.write_text(re.sub(r"uri: .*", f"uri: file:{root}/tests/fixtures/tweets/{{file}}", text))
    fewer = "    character_ngrams: 5\n    buckets: 4096\n    character_buckets: 4096\n"
    task.write_text(task.read_text().replace("    character_ngrams: 5\n", fewer))
    with_tasks("tweets")
    answer = answered(project, run_flywheel, "tweets", {"text": "this song late terrible lunch"})
    assert answer["label"] in ("negative", "neutral", "positive")
    metrics = json.loads((project / "artifacts/tweets/metrics.json").read_text())
    assert metrics["accuracy"] > 0.6

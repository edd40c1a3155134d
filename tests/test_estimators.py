"""Models whose parameters are found directly go through every stage as those that are trained by gradient."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file
from tests import forked

from flywheel.project.compose import compose_task
from flywheel.project.digest import sha256_of
from flywheel.project.tracking import find_run, prepare

Run = Callable[..., subprocess.CompletedProcess[str]]
STAGES = ("download", "preprocess", "train", "evaluate", "export", "register")


@pytest.fixture
def loans(project: Path) -> Callable[..., None]:
    """A task of loans: numbers with gaps, a category, three classes; `loans(overrides)` sets its params.yaml."""
    generator = np.random.default_rng(0)
    income, city = generator.normal(50, 10, 400), generator.choice(["Bonn", "Graz", "Lyon", "York"], 400)
    grade = np.digitize(income + 8 * (city == "Graz") + generator.normal(0, 3, 400), [45, 58])
    table = pd.DataFrame({"income": income.round(2), "city": city, "grade": np.array(["low", "middle", "high"])[grade]})
    table.loc[::9, "income"] = np.nan
    table.to_csv(project / "loans.csv", index=False)
    data = {
        "name": "loans", "title": "Loans", "licence": "CC0-1.0", "homepage": "",
        "download": {"files": {"loans.csv": {"sha256": sha256_of(project / "loans.csv")}},
                     "sources": [{"uri": "file:{file}"}]},
        "reader": {"read": {"_target_": "flywheel.reader.table.TableReader", "path": "loans.csv",
                                             "label_column": "grade"}},
    }  # fmt: skip
    (project / "conf/data/loans.yaml").write_text(yaml.safe_dump(data))
    task = (project / "conf/task/breast_cancer.yaml").read_text().replace("/data: breast_cancer", "/data: loans")
    task = task.replace("name: breast_cancer", "name: loans").replace("/register: auc", "/register: accuracy")
    (project / "conf/task/loans.yaml").write_text(task)

    def write(*overrides: str) -> None:
        composed = compose_task(project, ["task=loans", *overrides])
        (project / "params.yaml").write_text(yaml.safe_dump({"tasks": {"loans": composed}}))
        (project / "data/feedback/loans").mkdir(parents=True, exist_ok=True)

    return write


def stage(run_flywheel: Run, name: str) -> str:
    done = run_flywheel(name, "--task", "loans")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stderr


@pytest.mark.end_to_end
@pytest.mark.slow
def test_boosted_trees_go_from_a_file_to_a_champion_that_answers_as_it_was_evaluated(
    project: Path, loans: Callable[..., None], run_flywheel: Run
) -> None:
    loans("model=boosted_trees", "model.fit.max_rounds=40")
    said = {name: stage(run_flywheel, name) for name in STAGES}
    assert "kept step" in said["train"]
    artifacts = project / "artifacts/loans"
    with (artifacts / "model/history.csv").open() as stream:
        assert [row["step"] for row in csv.DictReader(stream)] == ["10", "20", "30", "40"]
    description = json.loads((artifacts / "model/model.json").read_text())
    assert description["fit"]["max_rounds"] == 40
    evaluation = json.loads((artifacts / "evaluation.json").read_text())
    assert evaluation["accuracy"] > evaluation["baseline"]["majority"]["accuracy"]
    assert json.loads((artifacts / "export/parity.json").read_text())["fp32"]["max_difference"] <= 1e-6
    assert json.loads((artifacts / "decision.json").read_text())["promoted"]

    # Every test row, asked of the champion, gets the answer of the evaluate stage: the logits are the same bits, and
    # PyTorch's softmax and ONNX Runtime's round a probability to neighbouring numbers at most.
    report = pd.read_parquet(artifacts / "report/predictions.parquet")
    raw = pd.read_csv(project / "loans.csv")
    asked = raw.iloc[report["row"]].drop(columns="grade")
    asked.to_csv(project / "asked.csv", index=False)
    done = run_flywheel("command.cli", "predict", "loans", "asked.csv", "--output", "answers.parquet")
    assert done.returncode == 0, done.stderr
    answers = pd.read_parquet(project / "answers.parquet")
    assert answers["label"].tolist() == report["predicted_label"].tolist()
    for place, name in enumerate(description["meta"]["classes"]):
        difference = answers[f"probability_{name}"].to_numpy() - report[f"probability_{place}"].to_numpy()
        assert np.abs(difference).max() < 1e-7


@pytest.mark.slow
def test_a_killed_fit_ends_with_the_very_same_trees_in_the_same_run(
    project: Path, loans: Callable[..., None], run_flywheel: Run
) -> None:
    loans("model=boosted_trees", "model.fit.max_rounds=1000", "model.fit.learning_rate=1e-3", "trainer.keep=last")
    for name in ("download", "preprocess"):
        stage(run_flywheel, name)
    command = [sys.executable, "-m", "flywheel.train", "--task", "loans"]
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    process = forked.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step 50"):
            os.kill(process.pid, signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    stage(run_flywheel, "train")
    client = prepare()
    (run,) = client.search_runs([client.get_experiment_by_name("loans").experiment_id])
    assert run.info.status == "FINISHED"
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "validation/loss")]
    assert sorted(steps) == list(range(1, 101))
    first = sha256_of(project / "artifacts/loans/model/model.safetensors")
    assert find_run("loans", first, client) == run.info.run_id
    stage(run_flywheel, "train")
    assert sha256_of(project / "artifacts/loans/model/model.safetensors") == first


@pytest.mark.parametrize("word", ["loss.l2=0.1", "trainer.devices=2", "trainer.prune.method=structured"])
def test_what_only_a_training_by_gradient_can_do_is_refused_in_one_line(
    loans: Callable[..., None], run_flywheel: Run, word: str
) -> None:
    loans()
    done = run_flywheel("train", "task=loans", "model=boosted_trees", word)
    assert done.returncode == 2
    assert done.stderr.startswith(f"flywheel: error: {word.partition('=')[0]}: does not go with trees")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_model_is_made_anew_of_train_and_validation_when_validation_has_chosen(
    project: Path, loans: Callable[..., None], run_flywheel: Run
) -> None:
    def trees(*words: str) -> tuple[dict[str, np.ndarray], list[str]]:
        loans("model=boosted_trees", "model.fit.max_rounds=30", *words)
        stage(run_flywheel, "train")
        model = project / "artifacts/loans/model"
        return load_file(model / "model.safetensors"), (model / "history.csv").read_text().splitlines()

    for name in ("download", "preprocess"):
        loans("model=boosted_trees")
        stage(run_flywheel, name)
    both, history = trees()
    alone, same_history = trees("trainer.refit=false")
    assert history == same_history  # what validation has chosen by was fitted on train alone
    assert len(both["net.roots"]) == len(alone["net.roots"])
    assert both["net.leaf"].tolist() != alone["net.leaf"].tolist()
    loans("trainer.refit=true")
    done = run_flywheel("train", "--task", "loans")
    assert done.returncode == 2
    assert "trainer.refit: mlp_tabular is trained by gradient" in done.stderr

"""The evaluate stage through its own door, on a small task with an untrained, a trained and a broken network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss

from flywheel.evaluate import main
from flywheel.model.network import Network, build_network, save_network
from flywheel.project import tracking
from flywheel.report.classification import ClassificationReport

PICTURES = {"baselines", "confusion", "per_class", "mistakes", "reliability", "roc", "pr", "learning"}
TABLES = {"baselines", "confusion", "per_class", "reliability", "roc", "pr"}


@pytest.fixture
def meta(project: Path, processed: Path, with_tasks: Callable[..., None]) -> dict[str, Any]:
    """A project with the one task `digits`, preprocessed."""
    with_tasks("digits")
    found: dict[str, Any] = json.loads((processed / "meta.json").read_text())
    inputs = {
        "_target_": "flywheel.modality.image.data.preprocessor.ImagePreprocessor",
        "image_size": None,
        "channels": None,
        "normalise": "standard",
        "fitted": {"image_size": [8, 8], "channels": 1, "mean": [70.0], "std": [50.0]},
    }
    target = {"_target_": "flywheel.preprocessor.target.ClassTarget", "classes": found["classes"]}
    (processed / "preprocessor.json").write_text(json.dumps({"format": 1, "inputs": inputs, "target": target}))
    return found


@pytest.fixture
def save_model(project: Path) -> Callable[..., str]:
    """Save a small network under the task's name."""

    def save(meta: dict[str, Any], change: Callable[[Network], None] | None = None, **description: Any) -> str:
        torch.manual_seed(0)
        net = {
            "_target_": "flywheel.model.mlp.MLP",
            "num_features": "meta.num_features",
            "num_outputs": "meta.num_outputs",
        }
        network = build_network(net, meta)
        if change is not None:
            change(network)
        folder = project / "artifacts/digits/model"
        folder.mkdir(parents=True, exist_ok=True)
        link = {"_target_": "torch.nn.Softmax", "dim": -1}
        whole = {"task": "digits", "net": net, "link": link, "meta": meta, "best_epoch": 1,
                 "trained_on": "a processor, 1 thread", **description}  # fmt: skip
        (folder / "history.csv").write_text("epoch,step,lr,train/loss,validation/loss\n1,5,0.1,1.0,1.1\n")
        return save_network(folder, network, whole)

    return save


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_results_are_right_whole_reproducible_and_in_the_run(
    project: Path, meta: dict[str, Any], save_model: Callable[..., str]
) -> None:
    sha256 = save_model(meta)
    assert main(["--task", "digits"]) == 0
    artifacts = project / "artifacts/digits"
    report, metrics = artifacts / "report", json.loads((artifacts / "evaluation.json").read_text())

    expected = {f"{name}.png" for name in PICTURES} | {f"{name}.csv" for name in TABLES}
    assert {path.name for path in report.iterdir()} == expected | {"predictions.parquet", "report.html"}

    predictions = pd.read_parquet(report / "predictions.parquet")
    probabilities = predictions[[f"probability_{k}" for k in range(3)]].to_numpy(np.float64)
    assert metrics["num_test"] == len(predictions) == 80
    assert metrics["model_sha256"] == sha256
    accuracy = accuracy_score(predictions["target"], predictions["predicted"])
    assert metrics["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    surprise = log_loss(predictions["target"], probabilities / probabilities.sum(axis=1, keepdims=True))
    assert metrics["log_loss"] == pytest.approx(surprise, rel=1e-4)
    assert set(metrics["baseline"]) == {"logistic_regression", "hog_logistic_regression", "majority"}
    assert metrics["baseline"]["logistic_regression"]["accuracy"] > metrics["accuracy"]  # it was never trained
    compared = json.loads((artifacts / "metrics.json").read_text())
    assert compared == {name: metrics[name] for name in [*ClassificationReport.kinds, "num_test"]}, (
        "what changed, alone"
    )
    page = (report / "report.html").read_text()
    titles = {"logistic_regression": "logistic regression", "hog_logistic_regression": "HOG and logistic regression"}
    best = max(titles, key=lambda name: metrics["baseline"][name]["accuracy"])
    assert f"Worse than {titles[best]}" in page
    assert "a processor, 1 thread" in page
    assert str(project) not in page

    run_id = tracking.find_run("digits", sha256)
    assert run_id is not None
    client = tracking.prepare()
    logged = client.get_run(run_id).data.metrics
    assert logged["test/accuracy"] == metrics["accuracy"]
    assert logged["test/accuracy_low"] == metrics["accuracy_low"]
    assert logged["test/logistic_regression/f1_macro"] == metrics["baseline"]["logistic_regression"]["f1_macro"]
    attached = {Path(entry.path).name for entry in client.list_artifacts(run_id, "report")}
    assert attached == {f"{name}.png" for name in PICTURES} | {"report.html"}

    before = {**files(report), "metrics": (artifacts / "evaluation.json").read_bytes()}
    assert main(["--task", "digits"]) == 0
    assert {**files(report), "metrics": (artifacts / "evaluation.json").read_bytes()} == before
    assert tracking.find_run("digits", sha256) == run_id


def test_a_store_that_fails_leaves_whole_results_and_says_so(
    project: Path,
    meta: dict[str, Any],
    save_model: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def refuse(*_: Any, **__: Any) -> None:
        raise MlflowException("the disk of the server is full")

    monkeypatch.setattr(MlflowClient, "log_artifact", refuse)
    save_model(meta)
    assert main(["--task", "digits"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "MLflow did not take the results: the disk of the server is full" in line
    assert "they are whole in artifacts/digits" in line
    assert (project / "artifacts/digits/report/report.html").is_file()
    assert json.loads((project / "artifacts/digits/evaluation.json").read_text())["num_test"] == 80


def damaged(network: Network) -> None:
    """Make every answer NaN."""
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, float("nan"))


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        ("no model", "no trained model; run `dvc repro` to train it"),
        ("no data", "data/processed/digits/meta.json: missing; run `dvc repro`"),
        ("other classes", "was trained on data with other classes; run `dvc repro` to train again"),
        ("nan", "answers 80 of 80 test rows with NaN or infinity, row 0 first; train again"),
        ("no history", "history.csv: missing"),
        ("cut test", "test.safetensors: damaged"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    project: Path,
    meta: dict[str, Any],
    save_model: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    spoil: str,
    line: str,
) -> None:
    data, model = project / "data/processed/digits", project / "artifacts/digits/model"
    other = {"classes": list("abc")} if spoil == "other classes" else {}
    if spoil != "no model":
        save_model(meta | other, damaged if spoil == "nan" else None)
    if spoil == "no data":
        (data / "meta.json").unlink()
    if spoil == "no history":
        (model / "history.csv").unlink()
    if spoil == "cut test":
        whole = (data / "test.safetensors").read_bytes()
        (data / "test.safetensors").write_bytes(whole[:-100])
    assert main(["--task", "digits"]) == 2
    errors = [text for text in capsys.readouterr().err.splitlines() if text.startswith("flywheel: error: ")]
    assert len(errors) == 1
    assert line in errors[0]
    left = {path.name for path in (project / "artifacts").rglob("*") if path.is_file()}
    assert left - {"dvc.yaml"} <= {"model.safetensors", "model.json", "history.csv"}

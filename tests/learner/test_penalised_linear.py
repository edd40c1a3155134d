"""Logistic and ridge regression: what scikit-learn finds, in a net of this project, and the penalty by validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression, Ridge

from flywheel.learner.estimator.fit import fit
from flywheel.learner.outcome import Fitted
from flywheel.model.network import load_network
from flywheel.project.compose import compose_task
from flywheel.project.config import TaskConfig
from flywheel.project.errors import ConfigError
from flywheel.project.params import task_from
from flywheel.registry.onnx_export import export_onnx
from flywheel.registry.onnx_model import OnnxModel

Arrays = dict[str, np.ndarray[Any, Any]]
MEAN, STD, CODES, COUNTS = [1.0, -2.0, 0.0], [2.0, 0.5, 1.0], [6, 5], [30, 200, 70]
KINDS = {
    "classes": ("cross_entropy", "classification", 3), "two classes": ("cross_entropy", "classification", 2),
    "one logit": ("binary_cross_entropy", "binary", 1), "number": ("mean_squared_error", "regression", 1),
}  # fmt: skip
"""Loss, metric and outputs."""


def table(kind: str, rows: int, seed: int) -> Arrays:
    """Rows of three numbers and two categories; no row has the first category's last code."""
    generator = np.random.default_rng(seed)
    numeric = (generator.normal(size=(rows, 3)) * STD + MEAN).astype(np.float32)
    codes = generator.integers(0, 5, (rows, 2)).astype(np.int32)
    signal = (numeric - MEAN) / STD @ [1.0, -1.0, 0.2] + codes[:, 0] - 2 + generator.normal(size=rows)
    target = (
        signal.astype(np.float32) if kind == "number" else np.digitize(signal, [-1, 1] if kind == "classes" else [0])
    )
    weight = generator.integers(1, 4, rows).astype(np.float32)
    return {"numeric": numeric, "categories": codes, "target": target, "weight": weight, "row": np.arange(rows)}


def task_of(root: Path, kind: str, *words: str) -> TaskConfig:
    loss, metric, _ = KINDS[kind]
    model = "ridge" if kind == "number" else "logistic_regression"
    given = ["task=digits", f"model={model}", f"loss={loss}", f"metric={metric}"]
    return task_from(
        compose_task(
            root, [*given, "metric.monitor.name=loss", "metric.monitor.mode=min", "trainer.refit=false", *words]
        ),
        "",
    )


def fitted(task: TaskConfig, kind: str, folder: Path) -> Fitted:
    outputs = KINDS[kind][-1]
    for place, name in enumerate(("train", "validation")):
        save_file(table(kind, 300, place), folder / f"{name}.safetensors")
    meta = {
        "inputs": {
            "numeric": {"dtype": "float32", "shape": [3], "mean": MEAN, "std": STD},
            "categories": {"dtype": "int32", "shape": [2]},
        },
        "num_numeric": 3, "cardinalities": CODES, "num_outputs": outputs, "num_classes": max(outputs, 2),
        "class_counts": COUNTS[: max(outputs, 2)], "weighted": ["train", "validation"],
        "target_mean": 0.0, "target_std": 1.0, "target_log1p": False,
    }  # fmt: skip
    (folder / "model").mkdir(exist_ok=True)
    nothing: Any = lambda *_: None  # noqa: E731
    return fit(
        task,
        folder,
        meta,
        folder / "model",
        folder / "last.ckpt",
        on_start=nothing,
        on_row=nothing,
    )


def expected(kind: str, train: Arrays, given: Arrays, penalty: float, class_weight: Any) -> np.ndarray[Any, Any]:
    """The answers of scikit-learn, fitted to the same columns."""

    def columns(arrays: Arrays) -> np.ndarray[Any, Any]:
        hot = [np.eye(size)[arrays["categories"][:, place]] for place, size in enumerate(CODES)]
        return np.concatenate([(arrays["numeric"] - np.float32(MEAN)) / np.float32(STD), *hot], axis=1)

    how: dict[str, Any] = {"solver": "newton-cholesky", "tol": 1e-10, "C": 1 / penalty, "class_weight": class_weight}
    model = Ridge(alpha=penalty, solver="cholesky") if kind == "number" else LogisticRegression(**how)
    model.fit(columns(train), train["target"], train["weight"])
    found: np.ndarray[Any, Any]
    found = model.predict(columns(given)) if kind == "number" else model.predict_proba(columns(given))
    return found


@pytest.mark.parametrize(("kind", "penalty"), [
    ("classes", 1.0), ("classes", 1e-3), ("two classes", 0.1), ("one logit", 10.0), ("number", 1e3), ("number", 1e-4),
])  # fmt: skip
def test_the_net_answers_as_scikit_learn_s_model(root: Path, tmp_path: Path, kind: str, penalty: float) -> None:
    words = [f"model.fit.strongest={penalty}", "model.fit.weakest=1e-9", "model.fit.num_penalties=1"]
    class_weights = "balanced" if kind == "classes" else "none"
    task = task_of(root, kind, *words, f"loss.class_weights={class_weights}")
    balanced = {place: 100 / count for place, count in enumerate(COUNTS)} if kind == "classes" else None
    fitted(task, kind, tmp_path)
    loaded = load_network(tmp_path / "model")
    train, given = (load_file(tmp_path / f"{name}.safetensors") for name in ("train", "validation"))
    inputs = {name: given[name] for name in ("numeric", "categories")}
    scores = loaded.predict({name: torch.from_numpy(array) for name, array in inputs.items()}).numpy()
    assert np.abs(scores - expected(kind, train, given, penalty, balanced)).max() < 1e-5
    assert not loaded.network.state_dict()["net.codes.0.weight"][5].any(), "a code that train has not weighs nothing"
    if kind == "classes":
        export_onnx(loaded, tmp_path / "net.onnx", opset=20)
        assert np.abs(OnnxModel(tmp_path / "net.onnx").scores(inputs) - scores).max() < 1e-5


def test_the_penalty_is_that_of_the_least_loss_on_validation_and_the_same_fit_gives_the_same_bytes(
    root: Path, tmp_path: Path
) -> None:
    found = fitted(task_of(root, "classes"), "classes", tmp_path)
    losses = [row["validation/loss"] for row in found.rows]
    assert [row["penalty"] for row in found.rows] == pytest.approx([10.0**power for power in range(4, -5, -1)])
    assert 1 < found.epoch < 9
    assert losses[found.epoch - 1] == found.score == min(losses)
    trained = [row["train/loss"] for row in found.rows]
    assert trained == sorted(trained, reverse=True), "the weaker the penalty, the closer the fit"
    again = fitted(task_of(root, "classes", "trainer.num_threads=2"), "classes", tmp_path)
    assert again.model_sha256 == found.model_sha256
    soon = fitted(task_of(root, "classes", "model.fit.patience=1"), "classes", tmp_path)
    assert soon.epoch == found.epoch
    assert len(soon.rows) == found.epoch + 1


@pytest.mark.parametrize(("kind", "words", "said"), [
    ("number", ["loss.criterion._target_=torch.nn.L1Loss"],
     "loss.criterion: a linear model of 1 output cannot be fitted to L1Loss; use loss=cross_entropy or"),
    ("classes", ["loss.criterion.label_smoothing=0.1"],
     "loss.criterion: a linear model of 3 outputs cannot be fitted to CrossEntropyLoss with label_smoothing"),
    ("number", ["model.net._target_=flywheel.model.mlp_tabular.MLPTabular"],
     "model.fit: fits the weights of flywheel.model.linear.Linear, not MLPTabular; take `model=logistic_regression`"),
    ("number", ["model.fit.weakest=0"], "0 < weakest <= strongest"),
])  # fmt: skip
def test_what_does_not_fit_is_said_in_one_line(
    root: Path, tmp_path: Path, kind: str, words: list[str], said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        fitted(task_of(root, kind, *words), kind, tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)

"""Fixtures: made-up probabilities, and the evidence that a report is made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flywheel.project.types import Preview
from flywheel.report.base import Contender, Evidence
from flywheel.report.bootstrap import Bootstrap
from flywheel.report.class_metrics import measure_classes
from flywheel.report.examples import Examples

Array = np.ndarray[Any, Any]
MakeScores = Callable[..., tuple[Array, Array]]
MakeEvidence = Callable[..., Evidence]


@pytest.fixture(scope="session")
def make_scores() -> MakeScores:
    """Target and float32 probabilities that favour it by `skill`."""

    def make(num_rows: int = 300, num_classes: int = 4, skill: float = 1.5, seed: int = 0) -> tuple[Array, Array]:
        random = np.random.default_rng(seed)
        target = random.integers(0, num_classes, num_rows)
        logits = random.normal(size=(num_rows, num_classes)) + skill * np.eye(num_classes)[target]
        raised = np.exp(logits)
        return target, (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def make_evidence(make_scores: MakeScores) -> MakeEvidence:
    """Evidence of a model of some skill beside a baseline of another."""

    def make(
        skill: float = 3.0, baseline_skill: float = 1.0, num_rows: int = 300, num_classes: int = 4, **given: Any
    ) -> Evidence:
        target, scores = make_scores(num_rows, num_classes, skill)
        target, scores = given.pop("target", target), given.pop("scores", scores)
        bootstrap = Bootstrap(len(target), 200, 0)
        model = Contender("model", "this model", measure_classes(target, scores, bootstrap))
        _, others = make_scores(len(target), num_classes, baseline_skill)
        measured = measure_classes(target, others, bootstrap)
        apart = {name: metric.minus(measured.metrics[name]) for name, metric in model.measured.metrics.items()}
        baseline = Contender("logistic_regression", "logistic regression", measured, "Fitted on 7 rows.", apart)
        previews = given.pop("previews", lambda index: [Preview(np.full((8, 8), i % 256, np.uint8)) for i in index])
        rows = np.arange(len(target)) + 1000
        given.setdefault("num_mistakes", 4)
        return Evidence(target, scores, rows, model, given.pop("baselines", [baseline]), previews, **given)

    return make


@pytest.fixture
def make_examples(tmp_path: Path) -> Callable[..., Examples]:
    """A split on the disk: one input `x` (float32) without scaling."""

    def make(name: str, x: Array, target: Array) -> Examples:
        from safetensors.numpy import save_file

        file = tmp_path / f"{name}.safetensors"
        x = np.ascontiguousarray(x, dtype=np.float32)
        save_file({"x": x, "target": target.astype(np.int64), "row": np.arange(len(target))}, file)
        return Examples(file, {"x": {"dtype": "float32", "shape": list(x.shape[1:])}})

    return make

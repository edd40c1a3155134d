"""Fixtures for variants: graphs of a few nodes, the digits model as material, and the exam it is measured on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from flywheel.registry.onnx_model import OnnxModel
from flywheel.registry.variant.base import Material
from flywheel.registry.variant.judge import Exam
from flywheel.report.classification import ClassificationReport


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """Write a graph of `ids` int64 [rows, 4], or `x` float32 [rows, 32], to `scores`."""

    def write(name: str, nodes: list[Any], weights: dict[str, Any], *, tables: bool = False) -> Path:
        given = ("ids", TensorProto.INT64, ["rows", 4]) if tables else ("x", TensorProto.FLOAT, ["rows", 32])
        graph = helper.make_graph(
            nodes, "graph",
            [helper.make_tensor_value_info(*given)],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", *["?", "?"][: 2 if tables else 1]])],
            [numpy_helper.from_array(values, key) for key, values in weights.items()],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        file = tmp_path / f"{name}.onnx"
        onnx.save(model, file)
        return file

    return write


@pytest.fixture
def linear(write_model: Callable[..., Path]) -> Path:
    """Scores are a linear map of 32 numbers to 40, most of whose weights are 0."""
    weights = np.random.default_rng(0).normal(size=(32, 40)).astype(np.float32)
    weights[np.abs(weights) < 1.2] = 0
    return write_model("linear", [helper.make_node("MatMul", ["x", "w"], ["scores"])], {"w": weights})


@pytest.fixture
def material_of(tmp_path: Path) -> Callable[[Path], Material]:
    """Material from a graph of `write_model`, with train rows of both inputs."""
    random = np.random.default_rng(1)
    train = tmp_path / "train.safetensors"
    rows = {"x": random.normal(size=(200, 32)).astype(np.float32), "ids": random.integers(0, 90, (200, 4))}
    save_file(rows, train)

    def make(file: Path) -> Material:
        names = OnnxModel(file).input_names
        return Material(file, {name: {} for name in names}, train, np.arange(3))

    return make


@pytest.fixture(scope="session")
def digits_material(digits: Any) -> Material:
    """The good digits model."""
    import json

    processed = digits.folder / digits.processed
    meta = json.loads((processed / "meta.json").read_text())
    row = load_file(processed / "test.safetensors")["row"]
    return Material(digits.folder / "good/export/fp32.onnx", meta["inputs"], processed / "train.safetensors", row)


@pytest.fixture(scope="session")
def digits_exam(digits: Any, digits_material: Material) -> Exam:
    """Its test set and scores."""
    split = digits.folder / digits.processed / "test.safetensors"
    target = load_file(split)["target"]
    scores = load_file(digits.folder / "good/export/scores.safetensors")["scores"]
    report = ClassificationReport([str(i) for i in range(10)])
    return Exam(report, split, target, scores, digits_material.source.stat().st_size)

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from flywheel.digest import sha256_of
from flywheel.errors import DataError, ModelError
from flywheel.export import export

EXPORT = Path("artifacts/digits/export")


@pytest.fixture
def trained(project: Path, digits: Any) -> Path:
    """A project with a trained, not yet exported model; its artifacts."""
    digits.use("good", project)
    shutil.rmtree(project / EXPORT)
    (project / "artifacts/digits/latency.json").unlink()
    return project / "artifacts/digits"


def test_the_stage_writes_model_parity_scores_and_beside_them_latency(trained: Path, digits: Any) -> None:
    export(digits.task)
    assert sorted(file.name for file in (trained / "export").iterdir()) == [
        "fp32.onnx", "parity.json", "scores.safetensors",
    ]  # fmt: skip
    parity = json.loads((trained / "export/parity.json").read_text())
    assert parity["model_sha256"] == sha256_of(trained / "model/model.safetensors")
    found = parity["fp32"]
    assert found["agreement"] == 1.0
    assert found["max_difference"] <= 1e-5
    assert found["num_bytes"] == (trained / "export/fp32.onnx").stat().st_size
    target = load_file("data/processed/digits/test.safetensors")["target"]
    scores = load_file(trained / "export/scores.safetensors")["scores"]
    assert found["accuracy"] == pytest.approx((scores.argmax(1) == target).mean())
    assert json.loads((trained / "latency.json").read_text())["fp32"]["batch_1"]["p50_ms"] > 0


def test_a_second_run_gives_the_same_bytes(trained: Path, digits: Any) -> None:
    """Also in another folder: the fixture's export was made in one."""
    export(digits.task)
    for name in ("fp32.onnx", "parity.json", "scores.safetensors"):
        assert (trained / "export" / name).read_bytes() == (digits.folder / "good/export" / name).read_bytes()


def test_too_large_a_difference_fails_the_stage_and_keeps_the_last_good_export(project: Path, digits: Any) -> None:
    digits.use("bad", project)
    before = sha256_of(EXPORT / "fp32.onnx")
    shutil.copytree(digits.folder / "good/model", "artifacts/digits/model", dirs_exist_ok=True)
    strict = replace(digits.task, export=replace(digits.task.export, max_difference=0.0))
    with pytest.raises(ModelError, match=r"digits: export.max_difference: ONNX differs from PyTorch by \d\.\de-0"):
        export(strict)
    assert sha256_of(EXPORT / "fp32.onnx") == before
    assert [file.name for file in Path("artifacts/digits").iterdir() if file.name.startswith(".")] == []


def test_a_missing_model_or_test_set_is_one_line(project: Path, digits: Any) -> None:
    with pytest.raises(ModelError, match="no trained model"):
        export(digits.task)
    digits.use("good", project)
    Path("data/processed/digits/test.safetensors").unlink()
    with pytest.raises(DataError, match=r"test\.safetensors: missing"):
        export(digits.task)


def test_what_is_scored_is_every_test_row(trained: Path, digits: Any) -> None:
    export(digits.task)
    stored, exported = load_file("data/processed/digits/test.safetensors"), load_file(EXPORT / "scores.safetensors")
    assert np.array_equal(stored["row"], exported["row"])
    assert exported["scores"].shape == (len(stored["row"]), 10)

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from flywheel.export import export
from flywheel.project.config import VariantConfig
from flywheel.project.digest import sha256_of
from flywheel.project.errors import ConfigError, DataError, ModelError

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


def test_variants_stand_beside_fp32_whose_figures_stay_the_same(trained: Path, digits: Any) -> None:
    int8 = VariantConfig({"_target_": "flywheel.registry.variant.int8.DynamicInt8"}, max_loss=0.1)
    brain = VariantConfig({"_target_": "flywheel.registry.variant.half.Half", "dtype": "bfloat16"})
    task = replace(digits.task, export=replace(digits.task.export, variants={"int8": int8, "bf16": brain}))
    found = []
    for _ in range(2):
        export(task)
        folder = trained / "export"
        found.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert found[0] == found[1]
    assert sorted(found[0]) == [
        "bf16.onnx", "fp32.onnx", "int8.onnx", "int8.scores.safetensors", "parity.json", "scores.safetensors",
    ]  # fmt: skip
    assert found[0]["fp32.onnx"] == (digits.folder / "good/export/fp32.onnx").read_bytes()
    parity = json.loads(found[0]["parity.json"])
    assert parity["fp32"].items() >= json.loads((digits.folder / "good/export/parity.json").read_text())["fp32"].items()
    latency = json.loads((trained / "latency.json").read_text())
    assert set(latency) == {"fp32", "int8"}
    assert latency["int8"]["onnx_sha256"] == parity["variants"]["int8"]["onnx_sha256"]
    assert (trained / "variants.png").is_file()


def test_settings_of_variants_are_checked_before_any_work(project: Path, digits: Any) -> None:
    with pytest.raises(ConfigError, match=r"export.serve: no variant 'int8'"):
        export(replace(digits.task, export=replace(digits.task.export, serve="int8")))

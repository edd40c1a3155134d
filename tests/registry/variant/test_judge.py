from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from flywheel.project.config import ExportConfig, VariantConfig
from flywheel.project.errors import ModelError
from flywheel.registry.variant.base import Material
from flywheel.registry.variant.judge import Exam, fp32_entry, make_variants

WHERE = "flywheel.registry.variant"
DYNAMIC = {"_target_": f"{WHERE}.int8.DynamicInt8"}
BFLOAT16 = {"_target_": f"{WHERE}.half.Half", "dtype": "bfloat16"}
SPARSE = {"_target_": f"{WHERE}.sparse.Sparse"}


@pytest.fixture
def exported(digits_material: Material, tmp_path: Path) -> Path:
    """An export folder with fp32 alone."""
    shutil.copyfile(digits_material.source, tmp_path / "fp32.onnx")
    return tmp_path


def student(folder: Path) -> dict[str, Any]:
    return {"_target_": f"{WHERE}.student.Student", "folder": str(folder)}


def test_a_good_variant_passes_with_its_figures(digits_material: Material, digits_exam: Exam, exported: Path) -> None:
    settings = ExportConfig(variants={"int8": VariantConfig(DYNAMIC), "half": VariantConfig(BFLOAT16)}, max_loss=0.05)
    entries, passed = make_variants(settings, digits_material, digits_exam, exported)
    found = entries["int8"]
    assert found["passed"]
    assert found["why"].startswith("Passed: accuracy ")
    assert found["num_bytes"] == (exported / "int8.onnx").stat().st_size < digits_exam.num_bytes
    assert found["accuracy"] == pytest.approx((passed["int8"].argmax(1) == digits_exam.target).mean())
    low, high = found["interval"]
    assert low < found["accuracy"] < high
    low, high = found["difference_interval"]
    assert low <= found["difference"] <= high
    assert fp32_entry(digits_exam, exported / "fp32.onnx")["onnx_sha256"] != found["onnx_sha256"]
    assert list(passed) == ["int8"]
    assert not entries["half"]["passed"]
    assert "does not run on this machine" in entries["half"]["why"]
    assert str(exported) not in json.dumps(entries)


def test_what_loses_too_much_is_not_small_enough_or_cannot_be_made_is_refused_and_the_rest_goes_on(
    digits: Any, digits_material: Material, digits_exam: Exam, exported: Path
) -> None:
    settings = ExportConfig(variants={
        "bad": VariantConfig(student(digits.folder / "bad/export")),
        "large": VariantConfig(DYNAMIC, max_loss=1.0, min_shrink=50.0),
        "dense": VariantConfig(SPARSE),
        "of_dense": VariantConfig(DYNAMIC, of="dense"),
    })  # fmt: skip
    entries, passed = make_variants(settings, digits_material, digits_exam, exported)
    assert not passed
    assert "a loss of more than 0.005 (export.max_loss)" in entries["bad"]["why"]
    assert "times smaller than fp32, not 50 (min_shrink)" in entries["large"]["why"]
    assert entries["dense"] == {
        "passed": False, "why": "Refused: cannot be made: no weights have zeros enough to be stored without them."
    }  # fmt: skip
    assert "dense, which it is made from, could not be made" in entries["of_dense"]["why"]
    assert not (exported / "dense.onnx").exists()


def test_a_test_set_that_cannot_tell_refuses(
    digits: Any, digits_material: Material, digits_exam: Exam, exported: Path
) -> None:
    close = VariantConfig(student(digits.folder / "close/export"), max_loss=0.012)
    entries, _ = make_variants(ExportConfig(variants={"close": close}), digits_material, digits_exam, exported)
    assert "the test set cannot rule out a loss of more than 0.012" in entries["close"]["why"]
    assert entries["close"]["weights_sha256"] != ""


def test_a_required_variant_fails_the_stage(digits_material: Material, digits_exam: Exam, exported: Path) -> None:
    settings = ExportConfig(variants={"dense": VariantConfig(SPARSE, required=True)})
    with pytest.raises(ModelError, match=r"export.variants.dense: Refused: cannot be made.*required: false"):
        make_variants(settings, digits_material, digits_exam, exported)


def test_a_student_of_other_inputs_other_rows_or_none_is_refused(
    digits: Any, digits_material: Material, digits_exam: Exam, exported: Path, linear: Path
) -> None:
    folders = [exported / name for name in ("none", "inputs", "rows", "torn")]
    for folder in folders[1:]:
        shutil.copytree(digits.folder / "good/export", folder)
    shutil.copyfile(linear, folders[1] / "fp32.onnx")
    save_file({"scores": digits_exam.scores[:3], "row": np.arange(3)}, folders[2] / "scores.safetensors")
    (folders[3] / "parity.json").write_text("{")
    variants = {folder.name: VariantConfig(student(folder)) for folder in folders}
    entries, _ = make_variants(ExportConfig(variants=variants), digits_material, digits_exam, exported)
    for name, words in (
        ("none", "no export of a student"), ("inputs", "takes the inputs x, not image"),
        ("rows", "other test rows"), ("torn", "damaged"),
    ):  # fmt: skip
        assert words in entries[name]["why"], entries[name]
        assert not (exported / f"{name}.onnx").exists()


def test_less_is_better_where_the_metric_says_so(digits_exam: Exam) -> None:
    from flywheel.report.regression import RegressionReport

    assert digits_exam.sign == 1
    assert replace(digits_exam, report=object.__new__(RegressionReport)).sign == -1

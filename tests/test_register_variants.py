from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flywheel.export import export
from flywheel.project.config import TaskConfig, VariantConfig
from flywheel.project.digest import sha256_of
from flywheel.project.tracking import prepare
from flywheel.register import register
from flywheel.registry import versions
from flywheel.registry.package import evidence

ARTIFACTS = Path("artifacts/digits")
INT8 = VariantConfig({"_target_": "flywheel.registry.variant.int8.DynamicInt8"}, max_loss=0.1)
SPARSE = VariantConfig({"_target_": "flywheel.registry.variant.sparse.Sparse"})


@pytest.fixture
def serving(project: Path, digits: Any) -> Callable[[str], TaskConfig]:
    """The digits project with fp32, int8, and a variant that cannot be made; gives the task that serves one of them."""
    digits.use("good", project)
    plain, rules = digits.task.export, replace(digits.task.register, margin=0.1)
    export(replace(digits.task, export=replace(plain, variants={"int8": INT8, "sparse": SPARSE})))
    variants = {"int8": INT8, "sparse": SPARSE}
    return lambda serve: replace(digits.task, export=replace(plain, variants=variants, serve=serve), register=rules)


def newest() -> versions.Version:
    return versions.versions_of(prepare(), "digits")[0]


def decision() -> Any:
    return json.loads((ARTIFACTS / "decision.json").read_text())


def test_what_is_served_is_what_the_version_holds(serving: Callable[[str], TaskConfig], digits: Any) -> None:
    register(serving("fp32"))
    assert "variant" not in decision()
    register(serving("smallest"))
    found = newest()
    assert (str(found), found.variant, found.aliases) == ("digits/2", "int8", ("candidate", "champion"))
    assert found.tags["onnx_sha256"] == sha256_of(ARTIFACTS / "export/int8.onnx")
    assert found.model_sha256 == sha256_of(ARTIFACTS / "model/model.safetensors")
    folder = versions.files_of(prepare(), found)
    assert sha256_of(folder / "artifacts/model.onnx") == found.tags["onnx_sha256"]
    assert sha256_of(folder / "evidence/scores.safetensors") == sha256_of(ARTIFACTS / "export/int8.scores.safetensors")
    assert evidence(folder, "meta.json")["task"] == "digits"
    assert decision()["variant"] == "int8"
    assert decision()["num_bytes"] == int(found.tags["num_bytes"]) == (ARTIFACTS / "export/int8.onnx").stat().st_size
    before = (ARTIFACTS / "decision.json").read_bytes()
    register(serving("int8"))
    assert (str(newest()), (ARTIFACTS / "decision.json").read_bytes()) == ("digits/2", before)


def test_what_was_refused_is_not_served(serving: Callable[[str], TaskConfig]) -> None:
    register(serving("sparse"))
    assert newest().variant == "fp32"


def test_the_fastest_is_chosen_by_the_clock_and_no_output_says_which(serving: Callable[[str], TaskConfig]) -> None:
    outputs = []
    for fast, slow in (("int8", "fp32"), ("fp32", "int8")):
        latency = json.loads((ARTIFACTS / "latency.json").read_text())
        latency[fast]["batch_1"]["p50_ms"], latency[slow]["batch_1"]["p50_ms"] = 0.001, 1.0
        (ARTIFACTS / "latency.json").write_text(json.dumps(latency))
        shutil.rmtree(".flywheel/registry", ignore_errors=True)
        client = prepare()
        if versions.versions_of(client, "digits"):
            client.delete_registered_model("digits")
        register(serving("fastest"))
        assert newest().variant == fast
        outputs.append([(ARTIFACTS / name).read_bytes() for name in ("decision.json", "registered.json")])
    assert outputs[0] == outputs[1]

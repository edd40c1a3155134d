from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from flywheel.project.errors import ConfigError, DataError
from flywheel.project.stage import run_stage
from flywheel.project.tracking import prepare
from flywheel.register import register
from flywheel.registry import aliases, versions
from flywheel.registry import log as registry_log
from flywheel.registry.onnx_model import OnnxModel

DECISION, REGISTERED = Path("artifacts/digits/decision.json"), Path("artifacts/digits/registered.json")


@pytest.fixture
def run(project: Path, digits: Any) -> Callable[..., dict[str, Any]]:
    """Register a model with these rules; gives the decision."""

    def register_one(name: str, **rules: Any) -> dict[str, Any]:
        digits.use(name, project)
        register(replace(digits.task, register=replace(digits.task.register, **rules)))
        decision: dict[str, Any] = json.loads(DECISION.read_text())
        return decision

    return register_one


def champion() -> str:
    found = versions.by_alias(prepare(), "digits", "champion")
    return str(found)


def candidate() -> str:
    found = versions.by_alias(prepare(), "digits", "candidate")
    return str(found)


def test_the_first_model_becomes_champion(run: Callable[..., Any], project: Path) -> None:
    decision = run("good")
    assert decision["promoted"]
    assert "compared with nothing" in decision["why"]
    assert champion() == candidate() == "digits/1"
    assert json.loads(REGISTERED.read_text()) == {"registered_model": "digits"}
    text = DECISION.read_text() + REGISTERED.read_text()
    assert str(project) not in text
    assert champion() not in text


def test_a_model_of_fast_dev_run_is_never_champion_not_even_as_the_first(project: Path, digits: Any) -> None:
    digits.use("good", project)
    file = project / "artifacts/digits/model/model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "fast_dev_run": True}))
    register(digits.task)
    decision = json.loads(DECISION.read_text())
    assert not decision["promoted"]
    assert decision["why"].startswith("Refused: trainer.fast_dev_run made it")
    assert (champion(), candidate()) == ("None", "digits/1")
    register(digits.task)
    assert champion() == "None"


def test_the_same_weights_again_make_no_second_version_and_the_same_bytes(run: Callable[..., Any]) -> None:
    run("good")
    before = DECISION.read_bytes(), REGISTERED.read_bytes()
    run("good")
    assert (DECISION.read_bytes(), REGISTERED.read_bytes()) == before
    assert len(versions.versions_of(prepare(), "digits")) == 1
    assert len(registry_log.read("digits")) == 1


def test_a_worse_candidate_is_refused_in_words_and_the_stage_succeeds(
    run: Callable[..., Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("good")
    monkeypatch.setattr(logging.getLogger("flywheel"), "propagate", True)
    with caplog.at_level(logging.INFO, logger="flywheel"):
        decision = run("bad")
    assert not decision["promoted"]
    assert "worse by more than the margin" in decision["why"]
    assert f"register: {decision['why']}" in caplog.messages
    assert (champion(), candidate()) == ("digits/1", "digits/2")
    assert decision["num_rows"] == 359
    assert decision["interval"][0] < decision["difference"] < decision["interval"][1] < -0.5
    before = DECISION.read_bytes()
    assert run("bad") == decision
    assert DECISION.read_bytes() == before


def test_a_good_candidate_takes_over_and_stays_when_registered_again(run: Callable[..., Any]) -> None:
    run("bad")
    decision = run("good")
    assert decision["promoted"]
    assert decision["difference"] > 0.5
    assert champion() == "digits/2"
    before = DECISION.read_bytes()
    run("good")
    assert DECISION.read_bytes() == before
    assert [event.action for event in registry_log.read("digits")] == ["promoted", "promoted"]


def test_the_margin_decides_between_close_models(run: Callable[..., Any]) -> None:
    run("good")
    assert not run("close", margin=0.0)["promoted"]
    assert run("close", margin=0.05)["promoted"]
    assert champion() == "digits/2"


def test_a_model_over_its_budget_is_refused_even_as_the_first(run: Callable[..., Any]) -> None:
    decision = run("good", max_bytes=100)
    assert not decision["promoted"]
    assert "register.max_bytes" in decision["why"]
    assert champion() == "None"
    assert candidate() == "digits/1"


def test_latency_of_another_model_is_not_believed(run: Callable[..., Any], project: Path, digits: Any) -> None:
    digits.use("good", project)
    latency = Path("artifacts/digits/latency.json")
    told = json.loads(latency.read_text())
    told["fp32"]["batch_1"]["p50_ms"] = 1e6
    slow = replace(digits.task, register=replace(digits.task.register, max_latency_ms=1e3))
    latency.write_text(json.dumps(told))
    register(slow)
    assert "register.max_latency_ms" in json.loads(DECISION.read_text())["why"]
    told["fp32"]["onnx_sha256"] = "0" * 64
    latency.write_text(json.dumps(told))
    register(slow)
    assert json.loads(DECISION.read_text())["promoted"]
    latency.unlink()
    register(slow)
    assert json.loads(DECISION.read_text())["promoted"]


def test_what_a_person_rolled_back_does_not_come_back_by_itself(run: Callable[..., Any]) -> None:
    run("bad")
    run("good")
    aliases.rollback("digits")
    decision = run("good")
    assert not decision["promoted"]
    assert "a person rolled them back" in decision["why"]
    assert champion() == "digits/1"
    aliases.promote_by_hand("digits", "candidate")
    assert champion() == "digits/2"
    assert run("good")["promoted"]


def test_the_champion_is_scored_anew_where_the_test_set_has_changed(
    run: Callable[..., Any], project: Path, digits: Any
) -> None:
    from flywheel.export import export
    from flywheel.preprocessor.pipeline.run import preprocess

    first = run("close")
    digits.use("good", project)
    other = replace(digits.task, preprocess=replace(digits.task.preprocess, seed=1))
    preprocess(other, digits.raw, project / "data/feedback/digits", digits.processed)
    export(other)
    register(other)
    decision = json.loads(DECISION.read_text())
    assert decision["rescored"]
    assert decision["champion"] == first["candidate"]
    assert decision["test_sha256"] != first["test_sha256"]
    test = load_file(digits.processed / "test.safetensors")
    scores = OnnxModel(digits.folder / "close/export/fp32.onnx").scores({"image": test["image"]})
    assert decision["champion_value"] == pytest.approx((scores.argmax(1) == test["target"]).mean(), abs=1e-6)


def test_a_champion_that_cannot_be_compared_stays(run: Callable[..., Any], project: Path) -> None:
    run("bad")
    client = prepare()
    found = versions.by_alias(client, "digits", "champion")
    assert found is not None
    shutil.rmtree(versions.files_of(client, found))
    decision = run("good")
    assert not decision["promoted"]
    assert "its files are gone" in decision["why"]
    assert str(project) not in decision["why"]
    assert champion() == "digits/1"


def test_a_stage_killed_while_it_makes_the_version_begins_again(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flywheel.registry.package import write_package

    def killed(*arguments: Any) -> None:
        write_package(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(versions, "write_package", killed)
    with pytest.raises(KeyboardInterrupt):
        run("good")
    assert versions.versions_of(prepare(), "digits") == []
    assert not DECISION.exists()
    monkeypatch.setattr(versions, "write_package", write_package)
    assert run("good")["promoted"]
    client = prepare()
    experiment = client.get_experiment_by_name("digits")
    assert [str(model.status) for model in client.search_logged_models([experiment.experiment_id])] == ["READY"]


def test_a_stage_killed_before_the_alias_moves_ends_as_if_it_had_not_been(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(aliases, "promote", killed)
        run("good")
    decision = run("good")
    assert "first model" in decision["why"]
    assert champion() == "digits/1"


def test_two_processes_at_once_make_one_version(run: Callable[..., Any], project: Path, digits: Any) -> None:
    digits.use("good", project)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(register, [digits.task, digits.task]))
    assert len(versions.versions_of(prepare(), "digits")) == 1
    assert champion() == "digits/1"


def test_inputs_that_do_not_fit_are_refused_before_anything_is_registered(
    project: Path, digits: Any, with_tasks: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with_tasks("digits")
    digits.use("good", project)
    metrics = Path("artifacts/digits/evaluation.json")
    metrics.write_text(json.dumps({"model_sha256": "0" * 64}))
    with pytest.raises(DataError, match=r"evaluation\.json: is of another model"):
        register(digits.task)
    metrics.write_text("{")
    assert run_stage("register", register, ["--task", "digits"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("flywheel: error: artifacts/digits/evaluation.json: is not JSON")
    metrics.write_text("[]")
    with pytest.raises(DataError, match="holds no mapping"):
        register(digits.task)
    metrics.unlink()
    with pytest.raises(DataError, match="missing"):
        register(digits.task)
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        register(replace(digits.task, register=replace(digits.task.register, metric="acuracy")))
    assert versions.versions_of(prepare(), "digits") == []


def test_evidence_of_the_version_is_what_the_gate_saw(run: Callable[..., Any]) -> None:
    run("good")
    client = prepare()
    folder = versions.files_of(client, versions.versions_of(client, "digits")[0])
    exported = load_file("artifacts/digits/export/scores.safetensors")
    assert np.array_equal(load_file(folder / "evidence/scores.safetensors")["scores"], exported["scores"])

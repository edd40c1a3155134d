"""What the register stage makes of a model that its own report calls worse than a baseline."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flywheel.project.errors import ConfigError
from flywheel.project.params import load_task
from flywheel.project.tracking import prepare
from flywheel.register import register
from flywheel.registry import log as registry_log
from flywheel.registry import versions
from flywheel.serving.version.champions import Champions

Run = Callable[..., dict[str, Any]]
WORSE, OVERLAPPING = (-0.06, -0.02), (-0.06, 0.01)
WEAK = {"accuracy": 0.1, "accuracy_difference": 0.85, "accuracy_difference_low": 0.8, "accuracy_difference_high": 0.9}


def champion() -> str:
    return str(versions.by_alias(prepare(), "digits", "champion"))


@pytest.fixture
def judged(project: Path, digits: Any) -> Run:
    """Register one of the digits models; `interval` is that of its difference to the best of two baselines."""

    def run(interval: tuple[float, float] | None, name: str = "good", **rules: Any) -> dict[str, Any]:
        digits.use(name, project)
        if interval is not None:
            low, high = interval
            told = {"accuracy": 0.99, "accuracy_difference": round((low + high) / 2, 6),
                    "accuracy_difference_low": low, "accuracy_difference_high": high}  # fmt: skip
            file = project / "artifacts/digits/evaluation.json"
            held = json.loads(file.read_text()) | {"accuracy": 0.95}
            file.write_text(json.dumps({**held, "baseline": {"majority": WEAK, "gradient_boosting": told}}))
        register(replace(digits.task, register=replace(digits.task.register, **rules)))
        decision: dict[str, Any] = json.loads((project / "artifacts/digits/decision.json").read_text())
        return decision

    return run


def test_the_first_model_is_refused_where_a_baseline_is_clearly_better(judged: Run, project: Path) -> None:
    decision = judged(WORSE)
    assert not decision["promoted"]
    assert decision["why"] == (
        "Refused: its own report calls it worse than gradient boosting: accuracy 0.9500 against 0.9900 (-0.0400, 95%"
        " interval -0.0600 to -0.0200); use gradient boosting instead, or set register.baseline=warn. There is no"
        " champion, so nothing is in service."
    )
    assert (decision["worse_than"], decision["baseline"]) == ("gradient_boosting", "refuse")
    assert (decision["baseline_value"], decision["baseline_interval"]) == (0.99, [-0.06, -0.02])
    assert champion() == "None"
    assert [event.action for event in registry_log.read("digits")] == ["refused"]
    (project / "conf/model/gradient_boosting.yaml").touch()
    assert "; use gradient boosting instead (model=gradient_boosting), or " in judged(WORSE)["why"]


def test_a_better_model_than_the_champion_is_refused_and_the_champion_stays(judged: Run) -> None:
    judged(OVERLAPPING, "bad")
    decision = judged(WORSE)
    assert not decision["promoted"]
    assert decision["difference"] > 0.5
    assert decision["why"].endswith("or set register.baseline=warn.")
    assert champion() == "digits/1"
    events = registry_log.read("digits")
    assert judged(WORSE) == decision
    assert registry_log.read("digits") == events


def test_a_difference_that_the_test_rows_cannot_tell_passes(judged: Run) -> None:
    decision = judged(OVERLAPPING)
    assert decision["promoted"]
    assert "worse_than" not in decision


@pytest.mark.parametrize("baselines", [{}, {"majority": {"accuracy": None}}])
def test_a_report_without_a_baseline_to_compare_with_passes(
    project: Path, digits: Any, judged: Run, baselines: dict[str, Any]
) -> None:
    assert judged(None)["promoted"]  # an evaluation of before there were baselines
    file = project / "artifacts/digits/evaluation.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "baseline": baselines}))
    register(digits.task)
    assert champion() == "digits/1"


def test_a_warning_promotes_and_is_said_wherever_the_champion_is_named(
    judged: Run, run_flywheel: Callable[..., Any]
) -> None:
    decision = judged(WORSE, baseline="warn")
    assert decision["promoted"]
    assert decision["why"].startswith("Promoted although its own report calls it worse than gradient boosting: ")
    assert (decision["worse_than"], decision["baseline"]) == ("gradient_boosting", "warn")
    said = run_flywheel("command.cli", "registry", "list", "digits").stdout
    assert "digits/1 is champion although its own report calls it worse than gradient boosting." in said
    (served,) = Champions(prepare(), ["digits"]).first()
    assert served.worse_than == "gradient_boosting"
    again = judged(WORSE)  # a champion is not taken out of service
    assert (again["promoted"], champion()) == (True, "digits/1")
    assert again["why"].endswith("these weights are the champion already.")


def test_only_two_words_are_known(project: Path, with_tasks: Callable[..., None]) -> None:
    with_tasks("digits")
    file = project / "params.yaml"
    file.write_text(file.read_text().replace("baseline: refuse", "baseline: refused"))
    with pytest.raises(ConfigError, match=r"tasks\.digits\.register\.baseline.*did you mean 'refuse'"):
        load_task("digits", file)


@pytest.mark.slow
def test_of_an_error_less_is_better(
    project: Path, with_tasks: Callable[..., None], run_flywheel: Callable[..., Any]
) -> None:
    file = project / "conf/task/diabetes.yaml"
    file.write_text(file.read_text().replace("lr: 5e-3", "lr: 1e-9").replace("max_epochs: 60", "max_epochs: 1"))
    with_tasks("diabetes")
    (project / "data/feedback/diabetes").mkdir(parents=True)
    for stage in ("download", "preprocess", "train", "evaluate", "export", "register"):
        done = run_flywheel(stage, "--task", "diabetes")
        assert done.returncode == 0, done.stdout + done.stderr
    decision = json.loads((project / "artifacts/diabetes/decision.json").read_text())
    assert not decision["promoted"]
    assert decision["baseline_metric"] == "rmse"
    assert decision["baseline_value"] < decision["candidate_value"]
    assert decision["baseline_interval"][0] > 0
    assert decision["why"] in done.stdout + done.stderr

"""What the gate is told by the registry: earlier decisions, the best champion so far, and how often rows were used."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flywheel.project.tracking import prepare
from flywheel.registry import aliases, versions
from flywheel.registry import log as registry_log
from flywheel.registry.judging import worse_than
from flywheel.registry.listing import remarks
from flywheel.report.classification import ClassificationReport
from flywheel.report.regression import RegressionReport
from flywheel.serving.version.champions import Champions

Registered = Callable[..., dict[str, Any]]
DECISION = Path("artifacts/digits/decision.json")


def champion() -> str:
    return str(versions.by_alias(prepare(), "digits", "champion"))


def test_registering_what_was_judged_before_changes_nothing(registered: Registered) -> None:
    """As after a change of the branch, or in a queue of experiments: two equals must not take turns."""
    registered("good", margin=0.1)
    first = DECISION.read_bytes()
    assert registered("close", margin=0.1)["promoted"]
    second, events = DECISION.read_bytes(), registry_log.read("digits")
    registered("good", margin=0.1)
    assert (champion(), DECISION.read_bytes()) == ("digits/2", first)
    registered("close", margin=0.1)
    assert (champion(), DECISION.read_bytes()) == ("digits/2", second)
    assert registry_log.read("digits") == events


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_candidate_is_held_against_the_best_champion_so_far(
    registered: Registered, project: Path, elsewhere: bool
) -> None:
    best = registered("good")
    assert registered("bad", margin=1.0)["promoted"]
    if elsewhere:  # as in a fresh clone that shares the store
        (project / ".flywheel/registry/digits.jsonl").unlink()
    found = registered("close", margin=0.0)
    assert not found["promoted"]
    assert found["best"] == best["candidate"]
    assert found["best_value"] == best["candidate_value"] > found["champion_value"]
    assert found["difference"] > 0.5
    assert "the best so far's" in found["why"]
    assert found["num_judged"] == 3
    assert champion() == "digits/2"
    said = remarks(versions.versions_of(prepare(), "digits"))
    assert said == ["The test set that judged digits/2 has judged 3 models of digits."]


def test_what_a_person_promoted_is_the_new_measure(registered: Registered) -> None:
    registered("good")
    assert not registered("bad")["promoted"]
    aliases.promote_by_hand("digits", "2")
    assert registry_log.read("digits")[-1].by_hand
    found = registered("close", margin=0.0)
    assert found["promoted"]
    assert found["best"] is None


def test_what_was_rolled_back_is_no_measure_and_what_it_refused_is_judged_again(registered: Registered) -> None:
    registered("bad")
    registered("good")
    refused = registered("close", margin=0.0)
    assert not refused["promoted"]
    aliases.rollback("digits", "worse in service")
    assert champion() == "digits/1"
    again = registered("close", margin=0.0)
    assert again["promoted"]
    assert (again["champion"], again["best"]) != (refused["champion"], refused["candidate"])


def test_the_best_so_far_is_scored_anew_where_the_test_set_has_changed(
    registered: Registered, project: Path, digits: Any
) -> None:
    from flywheel.export import export
    from flywheel.preprocessor.pipeline.run import preprocess
    from flywheel.register import register

    best = registered("good")
    assert registered("bad", margin=1.0)["promoted"]
    digits.use("close", project)
    strict = replace(digits.task.register, margin=0.0)
    other = replace(digits.task, preprocess=replace(digits.task.preprocess, seed=1), register=strict)
    preprocess(other, digits.raw, project / "data/feedback/digits", digits.processed)
    export(other)
    client = prepare()
    held = versions.by_alias(client, "digits", "champion")
    assert held is not None
    told = json.loads(held.tags[versions.DECISION_TAG])
    told |= {"best": best["candidate"], "best_value": best["candidate_value"]}
    client.set_model_version_tag("digits", "2", versions.DECISION_TAG, json.dumps(told))
    register(other)
    found = json.loads(DECISION.read_text())
    assert found["best"] == best["candidate"]
    assert found["rescored"]
    assert found["test_sha256"] != best["test_sha256"]
    assert found["num_judged"] == 1


def test_a_report_that_calls_the_model_worse_than_a_baseline_is_heard(
    registered: Registered, project: Path, digits: Any, run_flywheel: Callable[..., Any]
) -> None:
    digits.use("good", project)
    file = project / "artifacts/digits/evaluation.json"
    told = {"accuracy": 0.99, "accuracy_difference": -0.04, "accuracy_difference_low": -0.06,
            "accuracy_difference_high": -0.02}  # fmt: skip
    held = json.loads(file.read_text()) | {"baseline": {"gradient_boosting": told}}
    from flywheel.register import register

    file.write_text(json.dumps(held))
    register(digits.task)
    decision = json.loads(DECISION.read_text())
    assert decision["why"].startswith("Promoted although its own report calls it worse than gradient boosting: ")
    assert decision["worse_than"] == "gradient_boosting"
    said = run_flywheel("command.cli", "registry", "list", "digits").stdout
    assert "digits/1 is champion although its own report calls it worse than gradient boosting." in said
    (served,) = Champions(prepare(), ["digits"]).first()
    assert served.worse_than == "gradient_boosting"


def test_only_a_clear_difference_to_the_best_baseline_counts() -> None:
    def metrics(low: float, high: float, name: str = "accuracy") -> dict[str, Any]:
        weak = {name: 0.1, f"{name}_difference": 0.7, f"{name}_difference_low": 0.6, f"{name}_difference_high": 0.8}
        strong = {name: 0.9, f"{name}_difference": (low + high) / 2, f"{name}_difference_low": low,
                  f"{name}_difference_high": high}  # fmt: skip
        return {"baseline": {"majority": weak, "trees": strong}}

    report = ClassificationReport(["a", "b"])
    assert worse_than(metrics(-0.3, -0.1), report) == "trees"
    assert worse_than(metrics(-0.3, 0.1), report) is None
    assert worse_than(metrics(0.1, 0.3), report) is None
    assert worse_than({"baseline": {}}, report) is None
    number = RegressionReport()
    found = metrics(0.1, 0.3, "rmse")  # a larger error
    found["baseline"].pop("majority")
    assert worse_than(found, number) == "trees"

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
from flywheel.registry.listing import remarks

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

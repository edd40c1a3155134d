"""Runs are kept seed by seed, and measured anew only when asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench.bench_reference import learning_of, measure

from bench import bench_reference
from bench import reference_systems as systems


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Put results in a folder of the test's own, and instead of trainings note which were asked for."""
    found: list[tuple[int, bool]] = []
    load, save = systems.load, systems.save

    def one_run(task: str, seed: int, *, with_baseline: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        found.append((seed, with_baseline))
        run = {"seed": seed, "seconds": 1, "metrics": {"accuracy": 0.5 + len(found) / 100}}
        return run, {"metric": "accuracy"} | ({"baselines": {"majority": {}}} if with_baseline else {})

    monkeypatch.setattr(bench_reference, "one_run", one_run)
    monkeypatch.setattr(systems, "load", lambda task: load(task, tmp_path))
    monkeypatch.setattr(systems, "save", lambda result: save(result, tmp_path))
    return found


def test_a_task_is_measured_with_every_seed_and_its_baselines_once(asked: list[tuple[int, bool]]) -> None:
    measure("digits")
    assert asked == [(0, True), (1, False), (2, False)]
    kept = systems.load("digits") or {}
    assert (kept["metric"], kept["baselines"]) == ("accuracy", {"majority": {}})
    assert [run["seed"] for run in kept["runs"]] == [0, 1, 2]


def test_some_seeds_join_those_that_were_kept(asked: list[tuple[int, bool]]) -> None:
    measure("digits", [2])
    measure("digits", [0, 1])
    assert asked == [(2, True), (0, False), (1, False)]
    runs = (systems.load("digits") or {})["runs"]
    assert [(run["seed"], run["metrics"]["accuracy"]) for run in runs] == [(0, 0.52), (1, 0.53), (2, 0.51)]


def test_all_seeds_are_measured_anew(asked: list[tuple[int, bool]]) -> None:
    measure("digits")
    measure("digits")
    assert asked[3:] == [(0, True), (1, False), (2, False)]
    assert [run["metrics"]["accuracy"] for run in (systems.load("digits") or {})["runs"]] == [0.54, 0.55, 0.56]


def test_rises_of_the_loss_by_hand(tmp_path: Path) -> None:
    lines = ["epoch,step,lr,train/loss,validation/loss", *(f"{i},{i},0.1,{x},1" for i, x in enumerate((4, 3, 3, 1)))]
    (tmp_path / "history.csv").write_text("\n".join(lines) + "\n")
    assert learning_of(tmp_path) == {"num_epochs": 4, "first_loss": 4, "last_loss": 1, "num_rises": 1}

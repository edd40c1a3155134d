"""What a trial's share of a Ray cluster is, and what is said where a node does not see the sweep's folder."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flywheel.project.errors import ConfigError
from flywheel.sweep.run.hydra_job import HydraJob, trial_number
from flywheel.sweep.run.ray_cluster import ClusterShare, num_places, share
from flywheel.sweep.run.ray_pool import RayPool, TrialWorker


@pytest.mark.parametrize(
    ("there", "slots", "jobs_per_gpu", "wanted", "threads"),
    [
        ([(1, 0), (1, 0)], 2, 1, ClusterShare(1.0, 0.0), 1),
        ([(8, 0)], 2, 1, ClusterShare(4.0, 0.0), 4),
        (
            [(3, 0), (1, 0)],
            2,
            1,
            ClusterShare(1.0, 0.0),
            1,
        ),  # two of two CPUs would not fit: they are on different nodes
        ([(2, 0)], 4, 1, ClusterShare(0.5, 0.0), 1),
        ([(16, 2), (16, 2)], 4, 1, ClusterShare(8.0, 1.0), 8),
        ([(16, 2), (64, 0)], 2, 1, ClusterShare(8.0, 1.0), 8),  # a node without a GPU is of no use
        ([(16, 2)], 9, 2, ClusterShare(4.0, 0.5), 4),  # no more than there are places on GPUs
        ([(0, 0), (4, 0)], 1, 1, ClusterShare(4.0, 0.0), 4),
    ],
)
def test_a_trial_asks_for_its_share(
    there: list[tuple[int, int]], slots: int, jobs_per_gpu: int, wanted: ClusterShare, threads: int
) -> None:
    assert share(there, slots, jobs_per_gpu) == wanted
    assert wanted.threads == threads


def test_a_cluster_without_cpus_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no CPUs"):
        share([(0, 4)], 1, 1)


def test_places_are_those_on_gpus_or_else_the_cpus() -> None:
    assert num_places([(8, 2), (8, 0)], 3) == 6
    assert num_places([(8, 0), (4, 0)], 3) == 12


@pytest.fixture
def job(tmp_path: Path) -> Any:
    return HydraJob(None, None, None, {}, str(tmp_path / "gone"), {})  # type: ignore[arg-type]  # not used here


def test_a_worker_says_when_it_sees_another_folder_or_none(tmp_path: Path, job: Any) -> None:
    mark, before = tmp_path / "mark", Path.cwd()
    assert TrialWorker().settle(job, str(mark), "a")[1] == "does not see it (No such file or directory)"
    mark.write_text("b")
    assert TrialWorker().settle(job, str(mark), "a")[1] == "sees another folder"
    assert TrialWorker().settle(job, str(mark), "b")[1] == "does not see it (No such file or directory)"
    assert Path.cwd() == before


def test_the_number_of_a_trial_is_that_of_its_folder() -> None:
    assert trial_number(["a=1", "hydra.sweep.dir='x'", "hydra.sweep.subdir=12"]) == 12


def test_a_node_that_does_not_see_the_folder_ends_the_sweep_in_one_line(
    tmp_path: Path, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = SimpleNamespace(RayError=OSError)
    ray = SimpleNamespace(put=lambda one: one, get=lambda ref: ("node7", "does not see it"), exceptions=known)
    monkeypatch.setitem(sys.modules, "ray", ray)
    pool = RayPool(job, tmp_path, 1, 1)
    pool._starting["settled"] = "worker"
    with pytest.raises(ConfigError, match="the Ray node node7 does not see it; put the project on a file system that"):
        pool._welcome("settled")

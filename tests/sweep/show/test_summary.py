import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flywheel.project.tracking import prepare
from flywheel.sweep.search.folder import SweepPlan, note_trial, write_result
from flywheel.sweep.search.space import Dimension
from flywheel.sweep.search.trial import Objective
from flywheel.sweep.show.summary import Closing, as_table, best_job, close_parent, draw, open_parent, read_jobs


def result(score: float, *overrides: str, mode: str = "max") -> dict[str, object]:
    return {
        "overrides": list(overrides), "monitor": "accuracy", "mode": mode, "score": score, "epoch": 1,
        "model_sha256": "a" * 64,
    }  # fmt: skip


def test_best_first_with_the_settings_that_differ() -> None:
    jobs = [result(0.5, "task=t", "lr=1", "model=a"), result(0.9, "task=t", "lr=2", "model=a")]
    table = as_table(jobs)
    assert list(table.columns) == ["job", "lr", "accuracy", "epoch"]
    assert list(table["job"]) == [1, 0]
    assert best_job(jobs) == jobs[1]


def test_a_metric_to_be_small_is_best_when_small() -> None:
    jobs = [result(0.5, "lr=1", mode="min"), result(0.9, "lr=2", mode="min")]
    assert best_job(jobs) == jobs[0]
    assert list(as_table(jobs)["job"]) == [0, 1]


def test_failed_jobs_stand_last_with_their_reason_and_are_never_best() -> None:
    failed = {"overrides": ["lr=3"], "score": math.nan, "error": "no longer finite"}
    jobs = [failed, result(0.5, "lr=1")]
    table = as_table(jobs)
    assert list(table["job"]) == [1, 0]
    assert table["error"].iloc[1] == "no longer finite"
    assert best_job(jobs) == jobs[1]
    assert best_job([failed]) is None


def noted(folder: Path, number: int, *overrides: str, starts: int = 1) -> Path:
    """A trial's folder, as its job finds it."""
    note_trial(folder, number, {}, {"overrides": list(overrides), "starts": starts})
    return folder / str(number)


def test_a_job_that_left_no_result_has_failed_and_one_that_was_not_begun_is_none(tmp_path: Path) -> None:
    for number, word in ((0, "lr=1"), (10, "lr=3"), (2, "lr=2")):
        noted(tmp_path, number, "task=t", word)
    noted(tmp_path, 11, "lr=4", starts=0)
    write_result(tmp_path, 0, result(0.5, "lr=1"))
    write_result(tmp_path, 10, result(0.7, "lr=3"))
    jobs = read_jobs(tmp_path)
    assert [job["job"] for job in jobs] == [0, 2, 10]
    assert [job["score"] for job in jobs if "error" not in job] == [0.5, 0.7]
    assert jobs[1]["error"] == "did not come to its end"
    assert jobs[1]["overrides"] == ["task=t", "lr=2"]


def test_all_objectives_stand_in_the_table(tmp_path: Path) -> None:
    for number in range(2):
        settings = {"overrides": [f"lr={number}"], "starts": 1, "objectives": ["score", "num_bytes"]}
        note_trial(tmp_path, number, {}, settings)
        write_result(tmp_path, number, {**result(number / 2, f"lr={number}"), "values": [number / 2, 100.0 + number]})
    table = as_table(read_jobs(tmp_path))
    assert list(table.columns) == ["job", "lr", "accuracy", "num_bytes", "epoch"]
    assert list(table["num_bytes"]) == [101.0, 100.0]


def test_the_picture_is_a_picture(tmp_path: Path) -> None:
    draw(as_table([result(0.5, "lr=1"), result(0.9, "lr=2")]), tmp_path / "jobs.png", "accuracy")
    assert (tmp_path / "jobs.png").read_bytes().startswith(b"\x89PNG")


def test_many_settings_leave_room_for_the_scores(tmp_path: Path) -> None:
    """Labels that took the whole width left the axes none: matplotlib warns of it, and tests make that an error."""
    words = [f"group.a_setting_{key}=0.123456" for key in range(12)]
    jobs = [result(0.5 + number / 50, f"lr={number}", *words) for number in range(20)]
    for job in jobs[::2]:
        job["overrides"] = job["overrides"][:5]  # type: ignore[index]  # some have no value of the others
    draw(as_table(jobs), tmp_path / "jobs.png", "accuracy")
    assert (tmp_path / "jobs.png").is_file()


def test_a_job_that_was_stopped_early_is_said_to_be_and_is_never_best(tmp_path: Path) -> None:
    jobs = [result(0.5, "lr=1"), {**result(0.9, "lr=2"), "pruned": True}]
    assert best_job(jobs) == jobs[0]
    assert as_table(jobs)["stopped"].tolist()[0] == "early"


def sweep(folder: Path, results: list[dict[str, object]], *, planned: int = 0, exhausted: bool = False) -> Any:
    """Close a sweep with these results, in a store of its own; the parent run."""
    lr = Dimension("optimizer.lr", "float", low=1e-4, high=0.1, log=True)
    space = [lr, Dimension("model", "choice", ("mlp", "cnn"))]
    plan = SweepPlan("i", "digits/sweep", "a command", planned or len(results), space, [Objective("accuracy", "max")])
    open_parent(folder, "digits", ["task=digits"], plan)
    for number, one in enumerate(results):
        noted(folder, number, *one["overrides"])  # type: ignore[misc]
        write_result(folder, number, one)
    close_parent(folder, plan, Closing(exhausted=exhausted))
    client = prepare()
    run = client.search_runs([client.get_experiment_by_name("digits").experiment_id])[0]
    return run, {file.path for file in client.list_artifacts(run.info.run_id)}


@pytest.mark.parametrize("exhausted", [False, True])
def test_a_sweep_says_how_to_go_on_where_there_is_something_to_go_on_with(
    project: Path, caplog: pytest.LogCaptureFixture, exhausted: bool
) -> None:
    caplog.set_level("INFO", "flywheel")
    sweep(project / "sweep", [result(0.5, "task=digits", "seed=0")], planned=3, exhausted=exhausted)
    assert ("go on with:  a command sweep.resume=auto" in caplog.text) == (not exhausted)


def test_folds_end_in_means_and_not_in_the_luckiest_fold(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "flywheel")
    failed: dict[str, object] = {"overrides": ["task=digits", "fold=2"], "score": math.nan, "error": "no longer finite"}
    run, files = sweep(
        project / "sweep", [result(0.5, "task=digits", "fold=0"), result(0.7, "task=digits", "fold=1"), failed]
    )  # fmt: skip
    assert files == {"jobs.csv", "jobs.png", "folds.csv", "folds.png"}
    assert run.data.metrics["folds/accuracy_mean"] == pytest.approx(0.6)
    assert run.data.metrics["folds/accuracy_low"] < 0.5 < 0.7 < run.data.metrics["folds/accuracy_high"]
    assert "best/accuracy" not in run.data.metrics
    assert run.data.tags["flywheel.best"] == "task=digits"
    assert "job 2 (fold=2 failed: no longer finite)" in caplog.text
    assert "the mean is over 2 of 3 jobs" in caplog.text
    assert run.info.status == "FINISHED"


def test_a_sweep_of_settings_ends_in_the_best_job(project: Path) -> None:
    run, files = sweep(project / "sweep", [result(0.5, "lr=1"), result(0.7, "lr=2")])
    assert files == {"jobs.csv", "jobs.png"}
    assert run.data.metrics == {"best/accuracy": 0.7, "best/epoch": 1}
    assert run.data.params == {"num_trials": "2", "optimizer.lr": "0.0001 to 0.1, log", "model": "mlp, cnn"}
    assert "largest accuracy" in run.data.tags["mlflow.note.content"]
    assert "a command" in run.data.tags["mlflow.note.content"]
    assert run.data.tags["mlflow.source.name"] == "flywheel.train"


def test_folds_that_all_failed_are_a_failed_sweep(project: Path) -> None:
    bad = [{"overrides": [f"fold={k}"], "score": math.nan, "error": "no longer finite"} for k in range(2)]
    run, files = sweep(project / "sweep", bad)
    assert (run.info.status, run.data.metrics, files) == ("FAILED", {}, {"jobs.csv"})


@pytest.mark.slow
def test_folds_as_typed(project: Path, run_flywheel: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    words = ("task=digits", "fold=range(0,3)", "preprocess.num_folds=3", "trainer.max_epochs=1")
    done = run_flywheel("train", "-m", *words)
    assert done.returncode == 0, done.stderr
    assert "best mean: accuracy" in done.stderr
    (folder,) = (project / ".flywheel/sweeps/digits").iterdir()
    (row,) = pd.read_csv(folder / "folds.csv").to_dict("records")
    scores = [json.loads((folder / str(job) / "result.json").read_text())["score"] for job in range(3)]
    assert row["mean"] == pytest.approx(sum(scores) / 3)
    assert (row["over"], row["jobs"], row["failed"]) == ("fold", 3, 0)
    assert row["corrected_low"] < row["low"] < row["mean"] < row["high"] < row["corrected_high"]
    client = prepare()
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.data.metrics["folds/accuracy_mean"] == pytest.approx(row["mean"])

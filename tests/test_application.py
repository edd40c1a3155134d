"""The Hydra application, as typed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import forked

from flywheel.application import main
from flywheel.learner.task_check import check_task
from flywheel.project.compose import compose_params, compose_task
from flywheel.project.errors import ConfigError
from flywheel.project.tracking import prepare
from flywheel.sweep.search.command_line import compose_command_line

Run = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("task=digits", "trainer.max_epochs=1")


@pytest.mark.parametrize("words", [["modle=cnn"], ["-m", "model=mlp,cn"], ["optimizer.lrr=1", "-m"]])
def test_a_mistake_is_one_line_and_starts_nothing(project: Path, run_flywheel: Run, words: list[str]) -> None:
    done = run_flywheel("train", "task=digits", *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "did you mean" in done.stderr
    assert not (project / ".flywheel/runs").exists()
    assert not (project / ".flywheel/sweeps").exists()


def test_a_multirun_is_run_or_shown_and_not_both(project: Path, run_flywheel: Run) -> None:
    done = run_flywheel("train", "task=digits", "-m", "--cfg", "job")
    assert done.returncode == 2
    assert done.stderr == "flywheel: error: command line: --multirun does not go with --cfg; leave one of them out\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.lr=1e-3,3e-3"], "command line: optimizer.lr=1e-3,3e-3 names several values; add -m"),
        (["+sweep=tpe"], "command line: +sweep=tpe says how several trainings are run; add -m"),
        (["hydra/launcher=joblib"], "command line: hydra/launcher=joblib says how several trainings are run; add -m"),
        (["model=cmm"], "command line: no 'cmm' in conf/model/"),
        (["-m", "model=mlp,cmm"], "command line: no 'cmm' in conf/model/"),
        (["optimizer.lr=abc"], "optimizer.lr: 'abc' is not a number; torch.optim.Adam takes a number"),
        (["optimizer.lr=-1"], "optimizer: Invalid learning rate: -1"),
        (["model.net.hidden=7"], None),  # torch alone knows; the shapes are the data's
        (["model.net.hidden=abc"], "model.net.hidden: 'abc' is not a list"),
        (["model.net.dropout=[0.1]"], "model.net.dropout: [0.1] is not a number"),
        (["trainer.accelerator=gpux"], "trainer.accelerator: 'gpux' is not known; did you mean 'gpu'?"),
        (["trainer.accelerator=gpu"], None),
        (["trainer.keep=all"], "trainer.keep: 'all' is not known"),
        (["-m", "hydra/launcher=slurm", "seed=1,2"], "hydra/launcher: Slurm is not installed here"),
    ],
)
def test_what_is_typed_is_checked_before_data_are_fetched(
    project: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str | None
) -> None:
    def begin(*_: Any, **__: Any) -> Any:
        raise InterruptedError("the training begins")

    monkeypatch.setattr("hydra.main", begin)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(InterruptedError if said is None else ConfigError) as error:
        main(["task=digits", *words])
    assert str(error.value).startswith(said or "the training begins")


def test_a_model_is_chosen_by_one_word_whatever_the_task_s_file_sets_for_its_own(root: Path) -> None:
    compose_command_line(["task=breast_cancer", "model=linear"]).check_targets()
    text = compose_params(root, ["model@tasks.breast_cancer.model=linear"], check=check_task)
    net = yaml.safe_load(text)["tasks"]["breast_cancer"]["model"]["net"]
    assert net == yaml.safe_load((root / "conf/model/linear.yaml").read_text())["net"]
    # The same values stay for a network that takes them, and what was typed is never left out.
    same = yaml.safe_load(compose_params(root))["tasks"]["breast_cancer"]["model"]["net"]
    assert (same["hidden"], same["dropout"]) == ([32, 16], 0.2)
    with pytest.raises(ConfigError, match="unknown key 'hidden'"):
        compose_command_line(["task=breast_cancer", "model=linear", "model.net.hidden=[8]"]).check_targets()


def test_a_task_that_starts_from_another_leaves_out_its_settings_too(project: Path) -> None:
    derived = (
        "# @package _global_\ndefaults:\n  - breast_cancer@_here_\n  - override /model@model: linear\n  - _self_\n"
    )
    (project / "conf/task/plain.yaml").write_text(f"{derived}name: plain\n")
    assert "hidden" not in compose_task(project, ["task=plain"], check=check_task)["model"]["net"]
    (project / "conf/task/plain.yaml").write_text(f"{derived}name: plain\nmodel:\n  net:\n    hidden: [8]\n")
    with pytest.raises(ConfigError, match="unknown key 'hidden'"):
        compose_task(project, ["task=plain"], check=check_task)


@pytest.mark.slow
def test_one_training(project: Path, run_flywheel: Run) -> None:
    done = run_flywheel("train", *SMALL, "model=cnn")
    assert done.returncode == 0, done.stderr
    (result,) = (project / ".flywheel/runs/digits").glob("*/result.json")
    assert json.loads(result.read_text())["score"] > 0.5
    assert (result.parent / "model/model.safetensors").exists()
    assert [file.name for file in (project / "artifacts").iterdir()] == ["dvc.yaml"]  # DVC's outputs are DVC's


@pytest.mark.end_to_end
@pytest.mark.slow
def test_a_multirun_has_a_parent_children_a_table_and_goes_on_after_a_failure(project: Path, run_flywheel: Run) -> None:
    done = run_flywheel("train", "-m", *SMALL, "optimizer=sgd", "optimizer.lr=0.01,1e30,0.1")
    assert done.returncode == 1
    assert "trial 1/3 failed  the training loss is no longer finite" in done.stderr
    assert "best: accuracy" in done.stderr
    assert "Traceback" not in done.stderr
    client = prepare()
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.status for run in children) == ["FAILED", "FINISHED", "FINISHED"]
    assert parent.info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"jobs.csv", "jobs.png"}
    best = max(run.data.metrics["best/accuracy"] for run in children if run.info.status == "FINISHED")
    assert parent.data.metrics["best/accuracy"] == best
    assert {run.info.run_name.split()[0] for run in children} == {
        f"optimizer.lr={lr}" for lr in ("0.01", "1e+30", "0.1")
    }


@pytest.mark.slow
def test_swept_preprocess_settings_are_made_once_by_jobs_at_the_same_time(project: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(project / "src")}
    command = [
        sys.executable,
        "-m",
        "flywheel.train",
        *SMALL,
        "preprocess.inputs.image_size=[12,12]",
        "seed=range(0,2)",
    ]
    both = [forked.Popen([*command, "-m"], cwd=project, env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    texts = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    logs = [file.read_text() for file in (project / ".flywheel/sweeps/digits").glob("*/*/log.txt")]
    assert "".join(logs).count("preprocessing digits for these settings") == 1
    assert len([p for p in (project / ".flywheel/cache/processed").iterdir() if p.is_dir()]) == 1


@pytest.mark.slow
def test_what_the_preprocess_stage_made_is_used(
    project: Path, run_flywheel: Run, with_tasks: Callable[..., None]
) -> None:
    with_tasks("digits")
    for verb in ("download", "preprocess"):
        assert run_flywheel(verb, "--task", "digits").returncode == 0
    done = run_flywheel("train", *SMALL)
    assert done.returncode == 0
    assert "preprocessing digits" not in done.stderr


@pytest.mark.slow
def test_a_network_that_cannot_be_made_does_not_end_the_sweep(project: Path, run_flywheel: Run) -> None:
    done = run_flywheel("train", "-m", *SMALL, "model.net.hidden=[-3],[16]")
    assert done.returncode == 1
    assert "trial 0/2 failed  model.net: flywheel.model.mlp.MLP: Trying to create tensor with negative" in done.stderr
    assert "best: accuracy" in done.stderr


@pytest.mark.slow
def test_an_interrupted_sweep_is_closed_with_its_table(project: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(project / "src")}
    words = ["-m", "task=digits", "trainer.max_epochs=1,5000"]
    # A shell that runs the tests in the background makes its children ignore Ctrl+C; a person's terminal does not.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program = heed + "import runpy; runpy.run_module('flywheel.train', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", program, *words]
    process = forked.Popen(command, cwd=project, env=env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not any("epoch 3/5000" in log.read_text() for log in project.glob(".flywheel/sweeps/digits/*/1/log.txt")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait() == 130
    process.stderr.close()
    assert "best: accuracy" in rest
    assert "go on with:  python -m flywheel.train -m task=digits trainer.max_epochs=1,5000 sweep.resume=auto" in rest
    assert rest.strip().endswith("interrupted; the same command resumes where it can")
    assert "Traceback" not in rest
    client = prepare()
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert sorted(run.info.status for run in runs) == ["FINISHED", "KILLED", "KILLED"]

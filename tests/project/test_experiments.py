"""The presets of `conf/experiment/`, through the command line and in the files of tasks."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flywheel.command.derive import Draft, derive, parsed
from flywheel.learner.task_check import check_task
from flywheel.project.compose import compose_params, compose_task
from flywheel.project.errors import ConfigError

EXPERIMENTS = sorted(file.stem for file in Path(__file__).parents[2].glob("conf/experiment/*.yaml"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("task", ["fashion", "tweets", "spoken_digits", "breast_cancer", "movielens"])
def test_every_experiment_goes_with_every_kind_of_task(root: Path, experiment: str, task: str) -> None:
    composed = compose_task(root, [f"task={task}", f"+experiment={experiment}"], check=check_task)
    assert composed["name"] == task
    assert composed != compose_task(root, [f"task={task}"])


@pytest.mark.slow
def test_an_experiment_trains_alone_and_several_make_a_sweep(
    project: Path, processed: Path, run_flywheel: Callable[..., Any]
) -> None:
    done = run_flywheel("train", "task=digits", "+experiment=quick", "trainer.batch_size=4")
    assert done.returncode == 0, done.stderr
    (history,) = project.glob(".flywheel/runs/digits/*/model/history.csv")
    assert [line.split(",")[:2] for line in history.read_text().splitlines()[1:]] == [["1", "20"], ["2", "40"]]
    done = run_flywheel("train", "-m", "task=digits", "+experiment=quick,small_gpu", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    results = [json.loads(file.read_text()) for file in project.glob(".flywheel/sweeps/digits/*/*/result.json")]
    tried = {word for result in results for word in result["overrides"] if "experiment" in word}
    assert tried == {"+experiment=quick", "+experiment=small_gpu"}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("+experiment=quik", "no 'quik' in conf/experiment/; did you mean 'quick'?"),
        ("experiment=quick", "write +experiment=NAME, with a plus: patient, quick, small_gpu"),
    ],
)
def test_a_wrong_name_is_one_line(run_flywheel: Callable[..., Any], word: str, said: str) -> None:
    done = run_flywheel("train", "task=digits", word)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_task_may_start_from_an_experiment_also_in_the_pipeline(
    project: Path, with_tasks: Callable[..., None]
) -> None:
    text = (
        "# @package _global_\ndefaults:\n  - digits@_here_\n  - /experiment@_here_: patient\n  - _self_\nname: long\n"
    )
    (project / "conf/task/long.yaml").write_text(text)
    with_tasks("long")
    task = yaml.safe_load(compose_params(project, check=check_task))["tasks"]["long"]
    assert (task["trainer"]["max_epochs"], task["scheduler"]["_target_"].split(".")[-1]) == (200, "plateau")
    assert task == compose_task(project, ["task=long"], check=check_task)


@pytest.mark.parametrize("task", ["digits", "movielens"])
def test_a_run_with_an_experiment_can_be_adopted(root: Path, task: str) -> None:
    """`movielens` has a batch size of its own, which would win over the experiment's."""
    words = ["+experiment=small_gpu", "optimizer.lr=0.02"]
    with Draft.of(root, task, "run") as draft:
        option, target = derive(draft, parsed(words, "run"))
        text = draft.file(option).read_text()
    assert "- /experiment@_here_: small_gpu\n" in text
    assert "batch_size" not in text
    assert target == compose_task(root, [f"task={task}", *words])


def test_an_experiment_holds_no_unknown_key(project: Path) -> None:
    (project / "conf/experiment/own.yaml").write_text("# @package _global_\ntrainer:\n  max_epoch: 3\n")
    with pytest.raises(ConfigError, match="unknown key 'max_epoch'; did you mean 'max_epochs'"):
        compose_task(project, ["task=digits", "+experiment=own"])


def test_help_says_what_each_group_is(
    root: Path, run_flywheel: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = run_flywheel("train", "--help")
    assert done.returncode == 0, done.stderr
    groups = {path.name for path in (root / "conf").iterdir() if path.is_dir()} - {"hydra"}
    described = set(re.findall(r"^  ([a-z]+)  +[a-z]", done.stdout, re.MULTILINE))
    assert described == groups
    tasks, published = re.findall(r"^task.*?: (.*)$", done.stdout, re.MULTILINE)
    names = {file.stem for file in (root / "conf/task").glob("*.yaml")}
    assert names == {*tasks.split(", "), *published.split(", ")}
    assert {name for name in names if name.startswith("ref_")} == set(published.split(", "))
    assert "\nexport/variant: bf16, " in done.stdout
    assert "  max_epochs: " in done.stdout

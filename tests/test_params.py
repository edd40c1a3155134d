"""After an edit of `conf/`, DVC itself knows that `params.yaml` is not yet what it composes to."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests import forked

Run = Callable[..., subprocess.CompletedProcess[str]]


def edit_conf(project: Path) -> None:
    file = project / "conf/task/digits.yaml"
    file.write_text(file.read_text() + "optimizer:\n  lr: 5e-3\n")


def test_the_stage_refuses_a_stale_params_yaml(
    project: Path, with_tasks: Callable[..., None], run_flywheel: Run
) -> None:
    with_tasks("digits")
    assert run_flywheel("params").returncode == 0
    edit_conf(project)
    done = run_flywheel("params")
    assert done.returncode == 2
    assert "params.yaml: differs from what conf/ composes to; run `flywheel params`" in done.stderr
    (project / "conf/task/digits.yaml").write_text("defaults: [\n")
    done = run_flywheel("params")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_its_output_never_changes_so_that_no_other_stage_runs_again(
    project: Path, with_tasks: Callable[..., None], run_flywheel: Run
) -> None:
    with_tasks("digits")
    run_flywheel("params")
    before = (project / "data/params.checked").read_bytes()
    edit_conf(project)
    assert run_flywheel("command.cli", "params").returncode == 0
    assert run_flywheel("params").returncode == 0
    assert (project / "data/params.checked").read_bytes() == before


def test_an_experiment_has_composed_params_yaml_itself_and_lacks_folders_that_git_does_not_know(
    project: Path, with_tasks: Callable[..., None], run_flywheel: Run
) -> None:
    with_tasks("digits")
    edit_conf(project)
    assert run_flywheel("params", DVC_EXP_NAME="x").returncode == 0
    assert (project / "data/feedback/digits").is_dir()


def test_an_experiment_with_settings_that_cannot_be_meant_stops_before_the_old_model_is_gone(
    project: Path, with_tasks: Callable[..., None], run_flywheel: Run
) -> None:
    with_tasks("digits")
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("hidden:", "hiden:"))
    done = run_flywheel("params", DVC_EXP_NAME="x")
    assert done.returncode == 2
    assert "tasks.digits.model.net: unknown key 'hiden'; did you mean 'hidden'?" in done.stderr


def test_an_experiment_s_copy_that_lacks_local_data_names_the_two_commands(
    project: Path, with_tasks: Callable[..., None], run_flywheel: Run, tmp_path: Path
) -> None:
    with_tasks("digits")
    params = project / "params.yaml"
    watched = yaml.safe_load(params.read_text())["tasks"]["digits"]["data"]["watch"]
    params.write_text(params.read_text().replace(f"watch: {watched}", "watch: data/my own.csv"))
    main = tmp_path / "main"
    (main / "data").mkdir(parents=True)
    (main / "data/my own.csv").touch()
    done = run_flywheel("params", DVC_EXP_NAME="x", DVC_ROOT=str(main))
    assert done.returncode == 0  # other tasks do not need it
    assert "`dvc add 'data/my own.csv'` and `git add conf data`" in done.stderr
    (project / "data/my own.csv").touch()
    assert "own.csv" not in run_flywheel("params", DVC_EXP_NAME="x", DVC_ROOT=str(main)).stderr


def test_every_first_stage_follows_the_params_stage(root: Path) -> None:
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    made = {name for stage in stages.values() for out in stage.get("do", stage)["outs"] for name in out_names(out)}
    for name, stage in stages.items():
        deps = stage.get("do", stage)["deps"]
        assert name == "params" or made & set(deps), f"{name} runs without the params stage"


def out_names(out: str | dict[str, object]) -> list[str]:
    return [out] if isinstance(out, str) else list(out)


@pytest.mark.slow
def test_dvc_says_so_and_stops_before_any_other_stage(project: Path, with_tasks: Callable[..., None]) -> None:
    def dvc(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dvc", *words]
        return forked.run(command, cwd=project, env=os.environ, capture_output=True, text=True, check=False)

    with_tasks("digits")
    forked.lend_python(project)
    (project / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    assert dvc("repro", "params").returncode == 0
    assert "params" not in json.loads(dvc("status", "--json").stdout)
    edit_conf(project)
    assert "params" in json.loads(dvc("status", "--json").stdout)
    for target in ([], ["register@digits"]):
        done = dvc("repro", *target)
        assert done.returncode != 0
        assert "run `flywheel params`" in done.stderr
        assert done.stdout.count("Running stage") == 1
    compose = [sys.executable, "-m", "flywheel.command.cli", "params"]
    forked.run(compose, cwd=project, check=True, capture_output=True)
    assert "Running stage 'download@digits'" in dvc("repro", "download@digits").stdout
    # By hand, so that conf/ is as it was when it was checked.
    file = project / "params.yaml"
    file.write_text(file.read_text().replace("lr: 0.005", "lr: 0.5").replace("lr: 5e-3", "lr: 0.5"))
    assert dvc("repro", "download@digits").returncode != 0


def test_a_new_model_that_does_not_fit_the_data_stops_before_the_old_one_is_gone(
    project: Path, processed: Path, with_tasks: Callable[..., None], run_flywheel: Run
) -> None:
    with_tasks("digits")
    params = project / "params.yaml"
    task = yaml.safe_load(params.read_text())["tasks"]["digits"]
    entry = {"cmd": "x", "params": {"params.yaml": {"tasks.digits.model": task["model"]}}}
    made = {"cmd": "x", "params": {"params.yaml": {"tasks.digits.preprocess.seed": task["preprocess"]["seed"]}}}
    stages = {"train@digits": entry, "preprocess@digits": made}
    (project / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    assert run_flywheel("params").returncode == 0
    task["model"]["net"] = {
        "_target_": "flywheel.model.text_cnn.TextCNN",
        "vocabulary_size": "meta.vocabulary_size",
        "num_outputs": "meta.num_outputs",
    }
    params.write_text(yaml.safe_dump({"tasks": {"digits": task}}))
    done = run_flywheel("params", DVC_EXP_NAME="x")
    assert done.returncode == 2
    assert "tasks.digits.model.net: flywheel.model.text_cnn.TextCNN needs 'vocabulary_size'" in done.stderr
    task["preprocess"]["seed"] += 1  # other data are to be made: nobody knows yet
    params.write_text(yaml.safe_dump({"tasks": {"digits": task}}))
    assert run_flywheel("params", DVC_EXP_NAME="x").returncode == 0

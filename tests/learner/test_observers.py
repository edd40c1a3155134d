"""Loggers, callbacks and profilers of Lightning: named in the configuration, they look on and change no byte."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flywheel.learner.observers import make_observers
from flywheel.learner.task_check import check_task
from flywheel.learner.tracked import resume_key, train
from flywheel.project import kind as kinds
from flywheel.project.compose import compose_params, compose_task
from flywheel.project.errors import ConfigError
from flywheel.project.params import task_from

SEEN = ["logger=csv", "callbacks=[lr_monitor,device_stats]", "trainer.profiler=simple"]


def test_who_looks_on_changes_no_byte(project: Path, processed: Path, tmp_path: Path) -> None:
    words = ["task=digits", "trainer.max_epochs=2", "trainer.batch_size=16", "trainer.steps_per_call=4"]
    plain, seen = (task_from(compose_task(project, [*words, *more]), "") for more in ([], SEEN))
    meta = json.loads((processed / "meta.json").read_text())
    assert resume_key(plain, meta) == resume_key(seen, meta)
    train(plain, processed, tmp_path / "plain")
    train(seen, processed, tmp_path / "seen", records=tmp_path / "records")
    for name in ("model.safetensors", "model.json", "history.csv"):
        assert (tmp_path / "seen" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes(), name
    assert {file.name for file in (tmp_path / "seen").iterdir()} == {"model.safetensors", "model.json", "history.csv"}
    assert "run_training_epoch" in (tmp_path / "records/fit-simple.txt").read_text()
    folder = tmp_path / "records/csv/version_0"
    with (folder / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    losses = {int(row["step"]): float(row["train/loss"]) for row in rows if row["train/loss"]}
    with (tmp_path / "seen/history.csv").open() as stream:
        told = {int(row["step"]) - 1: float(row["train/loss"]) for row in csv.DictReader(stream)}
    assert losses == pytest.approx(told), "a step is one of the optimizer's, not a block of four"
    assert {row["lr-Adam"] for row in rows} == {"", "0.001"}
    assert any("DeviceStatsMonitor" in name for name in rows[0])
    assert yaml.safe_load((folder / "hparams.yaml").read_text())["trainer.batch_size"] == 16


def test_a_timer_a_bar_and_a_logger_in_one_command(
    project: Path, processed: Path, run_flywheel: Callable[..., Any]
) -> None:
    words = ["callbacks=[timer,tqdm_progress_bar,model_summary]", "callbacks.timer.duration={milliseconds:1}"]
    done = run_flywheel("train", "task=digits", "logger=csv", *words)
    assert done.returncode == 0, done.stderr
    (model,) = project.glob(".flywheel/runs/digits/*/model")
    assert len((model / "history.csv").read_text().splitlines()) == 2, "one epoch, whatever the time"
    assert "CSVLogger writes into" in done.stderr
    assert "Epoch 0:" in done.stdout + done.stderr
    assert (model.parent / "csv/version_0/metrics.csv").is_file()


@pytest.mark.parametrize(
    "words",
    [
        ["+callbacks.x._target_=os.system"],
        ["+logger.x._target_=subprocess.run", "+logger.x.args=id"],
        ["+callbacks.x._target_=pytorch_lightning.callbacks.LambdaCallback"],
        ["+callbacks.x._target_=pytorch_lightning.callbacks.ModelCheckpoint"],
        ["+callbacks.x._target_=pytorch_lightning.callbacks.progress.tqdm_progress.importlib"],
        ["+logger.x._target_=pytorch_lightning.loggers.MLFlowLogger"],
        ["+logger.x._target_=pytorch_lightning.loggers.WandbLogger"],
        ["logger=csv", "+callbacks.x._target_=pytorch_lightning.loggers.CSVLogger"],
        ["logger=csv", "+logger.csv.prefix._target_=os.system"],
        ["callbacks=timer", "+callbacks.timer.duration._target_=os.system"],
    ],
)
def test_no_other_class_is_made(root: Path, words: list[str]) -> None:
    said = r"is not allowed|' is no pytorch_lightning|belongs to|cannot stand here|has no 'importlib'"
    with pytest.raises(ConfigError, match=said):
        compose_task(root, ["task=digits", *words], check=check_task)


def test_the_classes_that_may_look_on_are_these() -> None:
    import pytorch_lightning.callbacks as callbacks
    import pytorch_lightning.loggers as loggers

    taken = {
        name
        for module in (callbacks, loggers)
        for name, found in vars(module).items()
        if isinstance(found, type) and (kinds.CALLBACK.takes(found) or kinds.LOGGER.takes(found))
    }
    assert taken == {
        "CSVLogger", "DeviceStatsMonitor", "LearningRateMonitor", "ModelSummary", "RichModelSummary", "RichProgressBar",
        "TQDMProgressBar", "TensorBoardLogger", "Timer",
    }  # fmt: skip


def test_a_refused_class_is_one_line(project: Path, run_flywheel: Callable[..., Any]) -> None:
    done = run_flywheel("train", "task=digits", "+callbacks.x._target_=os.system")
    assert done.returncode == 2
    assert done.stderr.startswith("flywheel: error: callbacks.x: target 'os.system' is not allowed; name a subclass of")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["callbacks=lr_monitor"], "callbacks.lr_monitor: has no logger to write to; add logger=csv"),
        (["logger=csv", "+logger.csv.save_dir=artifacts"], "logger.csv.save_dir: cannot be set: the folder is that of"),
        (["logger=csv", "logger.csv.name=../../artifacts"], "logger.csv: name and version lead out of the folder"),
        (["logger=csv", "logger.csv.version=/tmp/elsewhere"], "logger.csv: name and version lead out of the folder"),
        (["logger=csv", "+logger.csv.nam=x"], "logger.csv: unknown key 'nam'; did you mean 'name'?"),
        (["callbacks=model_summary", "+callbacks.model_summary.logdir=/tmp"], "unknown key 'logdir'; valid: max_depth"),
        (["callbacks=timer", "callbacks.timer.interval=step"], "callbacks.timer.interval: would end a training within"),
        (["callbacks=timer", "callbacks.timer.duration=soon"], "callbacks.timer: `Timer(duration='soon')` is not a"),
        (["callbacks=timer", "callbacks.timer.duration=00:00:00:00"], "callbacks.timer.duration: leaves no time"),
        (["callbacks=[rich_progress_bar,tqdm_progress_bar]"], "there is another progress bar; leave out"),
        (["logger=wandb"], "no 'wandb' in conf/logger/; valid: csv, many_loggers, none, tensorboard"),
        (["trainer.profiler=simpel"], "trainer.profiler: 'simpel' is not known; did you mean 'simple'?"),
    ],
)
def test_what_does_not_work_is_one_line(root: Path, words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose_task(root, ["task=digits", *words], check=check_task)
    assert said in str(error.value)


def test_tensorboard_that_is_missing_says_how_to_install_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if "tensorb" in name else find(name))
    for option in ("tensorboard", "many_loggers"):
        with pytest.raises(ConfigError, match=r"not installed; run `pip install 'flywheel\[tensorboard\]'`"):
            compose_task(root, ["task=digits", f"logger={option}"], check=check_task)


def test_names_of_the_package_lightning_mean_the_same(root: Path) -> None:
    node = "{_target_: lightning.pytorch.loggers.csv_logs.CSVLogger, name: csv}"
    compose_task(root, ["task=digits", f"+logger.csv={node}"], check=check_task)


def test_a_sweep_shows_no_bars_of_its_trials(root: Path, tmp_path: Path) -> None:
    words = ["task=digits", "callbacks=[rich_progress_bar,model_summary,timer]"]
    task = task_from(compose_task(root, words), "")
    assert len(make_observers(task, tmp_path).callbacks) == 3
    assert [type(one).__name__ for one in make_observers(task, tmp_path, in_sweep=True).callbacks] == ["Timer"]


def test_the_pipeline_takes_loggers_and_no_timer(project: Path) -> None:
    mounted = "defaults:\n  - task@tasks.digits: digits\n  - {}\n  - _self_\n"
    config = project / "conf/config.yaml"
    config.write_text(mounted.format("logger@tasks.digits.logger: csv"))
    task = yaml.safe_load(compose_params(project, check=check_task))["tasks"]["digits"]
    assert task["logger"]["csv"]["name"] == "csv"
    config.write_text(mounted.format("callbacks@tasks.digits.callbacks: timer"))
    with pytest.raises(ConfigError, match=r"tasks\.digits\.callbacks\.timer: ends a training by the clock"):
        compose_params(project, check=check_task)


def test_no_stage_watches_who_looks_on(root: Path) -> None:
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    watched = [key for stage in stages.values() for key in stage.get("do", {}).get("params", [])]
    assert watched
    assert not [key for key in watched if key == "tasks.${key}" or key.endswith((".callbacks", ".logger"))]


def test_a_task_that_chooses_a_logger_in_its_defaults_is_told_the_other_way(project: Path) -> None:
    text = "# @package _global_\ndefaults:\n  - digits@_here_\n  - /logger: csv\n  - _self_\nname: own\n"
    (project / "conf/task/own.yaml").write_text(text)
    for more in ([], ["logger=csv"]):
        with pytest.raises(ConfigError, match="a task chooses an option of 'logger'; write its keys there"):
            compose_task(project, ["task=own", *more])

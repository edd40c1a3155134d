import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests import forked

from flywheel.project.digest import sha256_of
from flywheel.project.errors import ConfigError
from flywheel.project.tracking import find_run, prepare

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def settings(project: Path, processed: Path) -> Callable[..., None]:
    """Make params.yaml hold the task `digits` with these overrides."""
    from flywheel.project.compose import compose_task

    def write(*overrides: str) -> None:
        task = compose_task(project, ["task=digits", *overrides])
        (project / "params.yaml").write_text(yaml.safe_dump({"tasks": {"digits": task}}))

    write("trainer.max_epochs=3")
    return write


def weights(project: Path) -> str:
    return sha256_of(project / "artifacts/digits/model/model.safetensors")


def train(run_flywheel: Run, **environment: str) -> subprocess.CompletedProcess[str]:
    done = run_flywheel("train", "--task", "digits", DVC_EXP_NAME="quiet", **environment)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_trains_writes_and_tracks(project: Path, settings, run_flywheel: Run) -> None:
    done = train(run_flywheel)
    assert "epoch 3/3  train/loss" in done.stderr
    assert "Warning" not in done.stderr
    with (project / "artifacts/digits/model/history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["validation/accuracy"]) > 0.9
    client = prepare()
    run = client.get_run(str(find_run("digits", weights(project), client)))
    assert run.info.status == "FINISHED"
    assert run.data.params["model.net"] == "flywheel.model.mlp.MLP"
    assert run.data.params["optimizer.lr"] == "0.001"
    assert run.data.tags["machine.num_threads"] == "1"
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "validation/accuracy")]
    assert steps == [1, 2, 3]
    assert (
        run.data.metrics["best/epoch"]
        == json.loads((project / "artifacts/digits/model/model.json").read_text())["best_epoch"]
    )
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"config.yaml", "model"} <= names
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"
    assert not list((project / ".flywheel/checkpoints/digits").glob("*/last.ckpt"))

    # The same again: the same bytes, whatever the machine, also when the data are streamed from mapped files.
    first = weights(project)
    assert json.loads((project / "artifacts/digits/model/model.json").read_text())["trained_on"].endswith(", 1 thread")
    train(run_flywheel, OMP_NUM_THREADS="2", **{forked.COLD: "1"})
    assert weights(project) == first
    settings("trainer.max_epochs=3", "trainer.hold=stream", "trainer.steps_per_call=2")
    train(run_flywheel)
    assert weights(project) == first


def start(project: Path, task: str = "digits") -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(project / "src"), "DVC_EXP_NAME": "quiet"}
    command = [sys.executable, "-m", "flywheel.train", "--task", task]
    return forked.Popen(command, cwd=project, env=env, stderr=subprocess.PIPE, text=True)


@pytest.mark.end_to_end
@pytest.mark.slow
def test_killed_trainings_resume_to_the_very_same_weights_in_the_same_run(
    project: Path, settings, run_flywheel: Run
) -> None:
    # Dropout, augmentation, momentum, a schedule and early stopping: everything that has a state.
    settings(
        "trainer.max_epochs=40",
        "model.net.dropout=0.3",
        "augment=image",
        "augment.erase=0.5",
        "optimizer=adamw",
        "scheduler=one_cycle",
        "trainer.early_stopping.patience=30",
        "trainer.keep=last",
    )
    train(run_flywheel)
    undisturbed = weights(project)
    history = (project / "artifacts/digits/model/history.csv").read_text()
    client = prepare()
    first_run = find_run("digits", undisturbed, client)

    for after_epoch in (1, 7, 20):
        process = start(project)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(f"epoch {after_epoch}/"):
                os.kill(process.pid, signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
        process.stderr.close()
    done = train(run_flywheel)

    assert "resuming after epoch" in done.stderr
    assert weights(project) == undisturbed
    assert (project / "artifacts/digits/model/history.csv").read_text() == history
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    killed = [run for run in runs if run.info.run_id != first_run]
    assert [run.info.status for run in killed] == ["FINISHED"]
    steps = [metric.step for metric in client.get_metric_history(killed[0].info.run_id, "validation/loss")]
    assert sorted(steps) == list(range(1, 41))


@pytest.mark.slow
def test_a_damaged_checkpoint_starts_afresh(project: Path, settings, run_flywheel: Run) -> None:
    process = start(project)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 1/"):
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    process.stderr.close()
    (checkpoint,) = (project / ".flywheel/checkpoints/digits").glob("*/last.ckpt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    done = train(run_flywheel)
    assert "is damaged" in done.stderr
    assert "epoch 1/3" in done.stderr


@pytest.mark.slow
def test_divergence_is_one_line_and_the_run_is_marked(project: Path, settings, run_flywheel: Run) -> None:
    settings("trainer.max_epochs=3", "optimizer=sgd", "optimizer.lr=1e30")
    done = run_flywheel("train", "--task", "digits", DVC_EXP_NAME="quiet")
    assert done.returncode == 2
    assert "no longer finite in epoch 1; lower optimizer.lr" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "artifacts/digits/model").exists()
    client = prepare()
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert run.info.status == "FAILED"
    assert "error.txt" in {file.path for file in client.list_artifacts(run.info.run_id)}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.batch_size=0", "trainer.batch_size: 0 is out of range; use at least 1"),
        ("trainer.keep=bst", "did you mean 'best'"),
        ("metric.monitor.name=acuracy", "metric.monitor.name: 'acuracy' is not known; did you mean 'accuracy'"),
        ("loss.class_weights=balance", "did you mean 'balanced'"),
        ("trainer.precision=bf16-mix", "trainer.precision: 'bf16-mix' is not known; did you mean 'bf16-mixed'"),
        ("trainer.accelerator=gpux", "trainer.accelerator: 'gpux' is not known; did you mean 'gpu'"),
        ("model.init=kaimin", "did you mean 'kaiming'"),
    ],
)
def test_wrong_settings_are_one_line_before_any_work(
    project: Path, settings, capsys: pytest.CaptureFixture[str], override: str, said: str
) -> None:
    """Composing conf/ refuses them too; the stage does where params.yaml was edited by hand."""
    from flywheel.train import main

    params = yaml.safe_load((project / "params.yaml").read_text())
    key, _, value = override.partition("=")
    *path, last = key.split(".")
    node = params["tasks"]["digits"]
    for part in path:
        node = node[part]
    node[last] = yaml.safe_load(value)
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    assert main(["--task", "digits"]) == 2
    assert said in capsys.readouterr().err
    assert prepare().get_experiment_by_name("digits") is None


def fit_here(project: Path, processed: Path, *overrides: str) -> Any:
    """Train in this process: quicker than a command, for settings whose effect is in the result."""
    from flywheel.learner.tracked import train as train_task
    from flywheel.project.compose import compose_task
    from flywheel.project.params import task_from

    task = task_from(compose_task(project, ["task=digits", "trainer.max_epochs=2", *overrides]), "")
    return train_task(task, processed, project / "out/model")


@pytest.mark.parametrize(
    "override",
    [
        "model=cnn",
        "model.init=xavier",
        "model.init=kaiming",
        "model.init=normal",
        "optimizer=sgd",
        "optimizer=adamw",
        "scheduler=one_cycle",
        "scheduler=cosine",
        "model.net.dropout=0.2",
        "loss.l1=0.001",
        "loss.l2=0.01",
        "loss.criterion.label_smoothing=0.1",
        "loss.class_weights=balanced",
        "loss.class_weights=sqrt",
        "augment=image",
        "trainer.gradient_clip_norm=0.1",
        "trainer.precision=bf16-mixed",
        "seed=1",
    ],
)
def test_every_choice_trains_and_changes_the_weights(project: Path, processed: Path, override: str) -> None:
    if override.startswith("loss.class_weights="):  # equal counts would give equal weights
        meta = processed / "meta.json"
        meta.write_text(meta.read_text().replace("[80, 80, 80]", "[40, 80, 120]"))
    fitted = fit_here(project, processed, override)
    assert fitted.score > 0.3
    assert fitted.model_sha256 != fit_here(project, processed).model_sha256


def test_early_stopping_stops_and_keeps_the_best(project: Path, processed: Path) -> None:
    fitted = fit_here(project, processed, "trainer.max_epochs=200", "trainer.early_stopping.patience=2")
    assert len(fitted.rows) < 60
    best = max(fitted.rows, key=lambda row: row["validation/accuracy"])
    assert (fitted.epoch, fitted.score) == (best["epoch"], best["validation/accuracy"])


@pytest.mark.slow
def test_two_trainings_of_the_same_thing_wait_for_each_other(project: Path, settings, run_flywheel: Run) -> None:
    processes = [start(project), start(project)]
    for process in processes:
        process.communicate(timeout=300)
    assert [process.returncode for process in processes] == [0, 0]
    client = prepare()
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]


@pytest.mark.slow
def test_a_compiled_net_trains_to_nearly_the_same(project: Path, processed: Path) -> None:
    plain = fit_here(project, processed, "trainer.max_epochs=1")
    if " " in torch.__file__:  # torch 2.13 hands the path to its compiler unquoted
        with pytest.raises(
            ConfigError, match=r"trainer.compile: torch.compile cannot use a torch in a path with a space"
        ):
            fit_here(project, processed, "trainer.max_epochs=1", "trainer.compile=true")
        return
    # In a process of its own: the compiler imports setuptools, which refuses where Python's own distutils came first.
    program = (
        "import json, sys\nfrom pathlib import Path\nfrom flywheel.project.compose import compose_task\n"
        "from flywheel.project.params import task_from\nfrom flywheel.train import train\n"
        "project, processed = map(Path, sys.argv[1:])\n"
        "words = ['task=digits', 'trainer.max_epochs=1', 'trainer.compile=true']\n"
        "fitted = train(task_from(compose_task(project, words), ''), processed, project / 'out/compiled')\n"
        "print(json.dumps(fitted.rows[0]))"
    )
    words = [sys.executable, "-c", program, str(project), str(processed)]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    compiled = json.loads(done.stdout.splitlines()[-1])
    assert compiled["train/loss"] == pytest.approx(plain.rows[0]["train/loss"], rel=1e-3)

"""Trainings on several ranks, in real processes: the result of one, one run, one output, and nobody left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import yaml
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file
from safetensors.torch import load_file
from tests import forked
from tests.learner.conftest import TOLERANCE, assert_same_weights
from torch import nn

from flywheel.learner.fit import Fitted
from flywheel.learner.ranks.ranks import must_be_a_mean
from flywheel.learner.tracked import train
from flywheel.project.compose import compose_task
from flywheel.project.errors import ConfigError
from flywheel.project.params import task_from
from flywheel.project.tracking import prepare

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ranks")]

# Everything that is computed over a whole batch, no dropout, and in float64, so that only the order of sums differs:
# batches of 37 rows are shared unevenly, and the last one is a single row, of which rank 1 has nothing.
WHOLE_BATCH = [
    "task=digits", "trainer.precision=64-true", "trainer.batch_size=37", "trainer.steps_per_call=4",
    "trainer.gradient_clip_norm=0.5", "loss.l1=1e-4", "loss.l2=1e-3", "loss.class_weights=balanced", "scheduler=cosine",
]  # fmt: skip
NORMALISED = [*WHOLE_BATCH, "model=cnn", "model.net.dropout=0", "model.net.widths=[8,8]", "trainer.max_epochs=4"]
LONG = [*WHOLE_BATCH, "model=mlp", "trainer.max_epochs=24"]


def fit_here(processed: Path, target: Path, *words: str) -> Fitted:
    return train(task_from(compose_task(Path.cwd(), list(words)), ""), processed, target)


def assert_same(one: Path, other: Path, fitted: tuple[Fitted, Fitted]) -> None:
    """The same weights and curves, to a tolerance; curves are float32."""
    assert_same_weights(one, other)
    assert [row["step"] for row in fitted[0].rows] == [row["step"] for row in fitted[1].rows]
    for row, its in zip(fitted[0].rows, fitted[1].rows, strict=True):
        assert its == pytest.approx(row, abs=1e-6)


def runs_of(task: str) -> list[Any]:
    client = prepare()
    experiment = client.get_experiment_by_name(task)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


@pytest.fixture
def nobody_left() -> Iterator[None]:
    """No process may outlive a test; those that were there before it, such as a database server, stay."""
    before = children()
    yield
    left = [child.cmdline() for child in children() - before]
    assert not left, "processes that nobody ended"


@pytest.mark.usefixtures("nobody_left")
def test_two_ranks_train_to_what_one_does_by_ddp_and_by_fsdp(project: Path, uneven: Path, tmp_path: Path) -> None:
    before = {path for path in project.rglob("*") if "mlartifacts" not in path.parts}
    alone = fit_here(uneven, tmp_path / "alone", *NORMALISED)
    ddp = fit_here(uneven, tmp_path / "ddp", *NORMALISED, "trainer.devices=2")
    last = [*NORMALISED, "trainer.devices=2", "trainer=fsdp", "trainer.keep=last", "trainer.early_stopping.patience=9"]
    fsdp = fit_here(uneven, tmp_path / "fsdp", *last)
    assert alone.epoch == 4, "the best epoch is the last one, so that keep: last gives the same"
    assert_same(tmp_path / "alone", tmp_path / "ddp", (alone, ddp))
    assert_same(tmp_path / "alone", tmp_path / "fsdp", (alone, fsdp))
    described = [json.loads((tmp_path / name / "model.json").read_text()) for name in ("alone", "ddp", "fsdp")]
    trained_on = [one.pop("trained_on") for one in described]
    assert described[0] == described[1] == described[2]
    assert trained_on[1] == trained_on[2] == f"2 ranks, {trained_on[0]}"

    assert (alone.machine.world_size, alone.machine.strategy, alone.machine.backend) == (1, "single", "none")
    assert (ddp.machine.world_size, ddp.machine.strategy, ddp.machine.backend) == (2, "ddp", "gloo")
    assert fsdp.machine.strategy == "fsdp"
    runs = runs_of("digits")
    assert [run.info.status for run in runs] == ["FINISHED"] * 3, "one run a training"
    assert {run.data.tags["machine.strategy"] for run in runs} == {"single", "ddp", "fsdp"}
    new = {path for path in project.rglob("*") if "mlartifacts" not in path.parts} - before
    stray = [path for path in new if ".flywheel" not in path.parts and path.name != "mlflow.db"]
    assert not stray
    assert not list((project / ".flywheel/checkpoints").rglob("*.log"))


@pytest.mark.usefixtures("nobody_left")
def test_ranks_share_the_mean_by_the_weights_of_rows(project: Path, uneven: Path, tmp_path: Path) -> None:
    """Weights that differ by a thousand times, so that a mean of the ranks' own means would be far away."""
    for part in ("train", "validation"):
        arrays = load_arrays(uneven / f"{part}.safetensors")
        weight = np.where(arrays["row"] % 2, 0.01, 10.0).astype(np.float32) * (1 + arrays["row"] % 5)
        save_file({**arrays, "weight": weight.astype(np.float32)}, uneven / f"{part}.safetensors")
    words = [*NORMALISED, "trainer.keep=last"]
    alone = fit_here(uneven, tmp_path / "alone", *words)
    for strategy in ("ddp", "fsdp"):
        found = fit_here(uneven, tmp_path / strategy, *words, "trainer.devices=2", f"trainer={strategy}")
        assert_same(tmp_path / "alone", tmp_path / strategy, (alone, found))


def write_texts(folder: Path, *, rows: int = 131, length: int = 24, words: int = 40) -> None:
    """Padded texts of all lengths: the class is the word that stands most often."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, count in (("train", rows), ("validation", rows // 3)):
        target = generator.integers(0, 3, count)
        tokens = generator.integers(5, words, (count, length))
        tokens[:, ::3] = 2 + target[:, None]
        tokens[np.arange(length) >= generator.integers(3, length + 1, count)[:, None]] = 0
        save_file({"tokens": tokens.astype(np.int32), "target": target}, folder / f"{name}.safetensors")
    meta = {
        "inputs": {"tokens": {"dtype": "int32", "shape": [length], "padding": 0}},
        "vocabulary_size": words, "num_outputs": 3, "num_classes": 3, "class_counts": [40, 40, 51],
        "sha256": {"train": "0" * 64, "validation": "1" * 64},
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta))


def test_padded_texts_are_shared_and_all_ranks_stop_when_rank_0_is_told_to(project: Path, tmp_path: Path) -> None:
    write_texts(tmp_path / "texts")
    words = [
        "task=digits", "model=text_cnn", "model.net.dropout=0", "model.net.embedding_dropout=0", "model.net.filters=8",
        "trainer.precision=64-true", "trainer.batch_size=16", "trainer.max_epochs=6", "optimizer.lr=1e-2",
    ]  # fmt: skip

    def stop(epoch: int, metric: float) -> bool:
        return epoch == 2

    fitted = []
    for name, more in (("alone", []), ("ddp", ["trainer.devices=3"])):
        task = task_from(compose_task(project, [*words, *more]), "")
        fitted.append(train(task, tmp_path / "texts", tmp_path / name, watch=stop))
    assert len(fitted[0].rows) == 3
    assert_same(tmp_path / "alone", tmp_path / "ddp", (fitted[0], fitted[1]))


@pytest.fixture
def written(project: Path, uneven: Path, nobody_left: None) -> Callable[..., None]:
    """Write `params.yaml` with the task `digits` and these overrides, for long trainings of a small net."""

    def write(*words: str) -> None:
        task = compose_task(project, [*LONG, *words])
        (project / "params.yaml").write_text(yaml.safe_dump({"tasks": {"digits": task}}))

    return write


def environment(project: Path, **more: str) -> dict[str, str]:
    own = {"PYTHONPATH": str(project / "src"), "DVC_EXP_NAME": "quiet", "OMP_NUM_THREADS": "1", forked.COLD: "1"}
    return {**os.environ, **own, **more}


def started(project: Path, until: str) -> subprocess.Popen[str]:
    """Start the stage, as DVC does, and return when it says `until`."""
    command = [sys.executable, "-m", "flywheel.train", "--task", "digits"]
    process = subprocess.Popen(command, cwd=project, env=environment(project), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(until):
            return process
    raise AssertionError(f"ended with {process.wait()}")


def gone(processes: list[psutil.Process], seconds: float = 20) -> bool:
    return not psutil.wait_procs(processes, timeout=seconds)[1]


def test_killed_ranks_end_all_and_the_same_command_goes_on(
    project: Path, written: Callable[..., None], run_flywheel: Callable[..., Any], tmp_path: Path
) -> None:
    written("trainer.devices=2", "trainer.strategy=fsdp")
    process = started(project, "epoch 3/")
    others = psutil.Process(process.pid).children()
    assert len(others) == 1
    others[0].send_signal(signal.SIGKILL)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 2, said
    last = said.strip().splitlines()[-1]
    assert "rank-1.log: rank 1 was ended by SIGKILL; the same command goes on from the last epoch" in last
    assert "Traceback" not in said
    assert [run.info.status for run in runs_of("digits")] == ["FAILED"]

    process = started(project, "epoch 9/")  # it has gone on from the checkpoint
    others = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    assert gone(others), "a rank outlives rank 0"

    done = run_flywheel("train", "--task", "digits", **environment(project))
    assert done.returncode == 0, done.stderr
    assert "resuming after epoch" in done.stderr
    assert [run.info.status for run in runs_of("digits")] == ["FINISHED"], "all in one run"
    folder = project / "artifacts/digits/model"
    fit_here(project / "data/processed/digits", tmp_path / "alone", *LONG)
    alone, resumed = (load_file(place / "model.safetensors") for place in (tmp_path / "alone", folder))
    for name, value in alone.items():
        assert torch.allclose(value, resumed[name], rtol=0, atol=TOLERANCE), name
    assert (tmp_path / "alone/history.csv").read_text().count("\n") == (folder / "history.csv").read_text().count("\n")
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


# A network of the user's own, for which the second device is too small.
LARGE = """import os
from flywheel.model.mlp import MLP

class Large(MLP):
    def __init__(self, **settings):
        if os.environ.get("RANK") == "1":
            raise MemoryError("too small")
        super().__init__(**settings)
"""


def test_a_rank_that_fails_is_named_with_what_it_said(
    project: Path, written: Callable[..., None], run_flywheel: Callable[..., Any]
) -> None:
    (project / "src/flywheel/model/large.py").write_text(LARGE)
    written("trainer.devices=2", "model.net._target_=flywheel.model.large.Large")
    began = time.monotonic()
    done = run_flywheel("train", "--task", "digits", **environment(project))
    assert done.returncode == 2
    assert "rank 1 failed: MemoryError: too small" in done.stderr.splitlines()[-1]
    assert time.monotonic() - began < 300, "it does not wait for a rank that has ended"


def test_torchrun_on_two_nodes_does_a_multirun(project: Path, tmp_path: Path, digits: Any) -> None:
    """Two agents on this machine, each with one rank: Hydra, the sweep and MLflow are rank 0's alone."""
    digits.use("good", project)
    words = ["-m", "task=digits", "trainer=multi_node", "trainer.max_epochs=1", "optimizer.lr=1e-3,3e-3"]
    words += [f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    agents = []
    for node in (0, 1):
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
        command += [f"--node-rank={node}", "--master-addr=127.0.0.1", f"--master-port={free_port(tmp_path)}"]
        command += [f"--log-dir={tmp_path / 'torchrun'}", "-m", "flywheel.train", *words]
        agents.append(
            subprocess.Popen(command, cwd=project, env=environment(project), stderr=subprocess.PIPE, text=True)
        )
    said = [agent.communicate(timeout=300)[1] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert "best: accuracy" in said[0]
    assert "epoch" not in said[1], "other ranks say nothing"
    statuses = [(run.info.status, run.data.tags.get("machine.world_size")) for run in runs_of("digits")]
    assert sorted(statuses, key=str) == [("FINISHED", "2"), ("FINISHED", "2"), ("FINISHED", None)]
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()) == ["0", "1"]


def test_slurm_tasks_become_ranks_of_the_stage(project: Path, written: Callable[..., None], tmp_path: Path) -> None:
    written("trainer.max_epochs=2")
    step = {
        "SLURM_JOB_ID": "17", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
        "SLURM_STEP_NODELIST": "localhost,other", "SLURM_LOCALID": "0", "MASTER_PORT": free_port(tmp_path),
    }  # fmt: skip
    command = [sys.executable, "-m", "flywheel.train", "--task", "digits"]
    tasks = [
        subprocess.Popen(
            command, cwd=project, stderr=subprocess.PIPE, text=True,
            env=environment(project, **step, SLURM_PROCID=str(rank), SLURM_NODEID=str(rank)),
        )
        for rank in (0, 1)
    ]  # fmt: skip
    said = [task.communicate(timeout=300)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    assert "epoch 2/2" in said[0]
    assert said[1] == ""
    (run,) = runs_of("digits")
    assert run.data.tags["machine.world_size"] == "2"


def free_port(tmp_path: Path) -> str:
    """A port that is free now, the same for all who ask in one test."""
    import socket

    note = tmp_path / "port"
    if not note.exists():
        with socket.create_server(("127.0.0.1", 0)) as server:
            note.write_text(str(server.getsockname()[1]))
    return note.read_text()


def test_what_several_devices_cannot_share_is_refused(
    project: Path, uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__file__", "/lib/torch/__init__.py")  # nor a space in its path
    for word, said in (
        ("trainer.batch_size=1", "1 rows cannot be shared by 2 ranks"),
        ("trainer.compile=true", "trainer.compile: does not go with several devices"),
    ):
        with pytest.raises(ConfigError, match=said):
            fit_here(uneven, tmp_path / "out", "task=digits", "trainer.devices=2", word)
    assert runs_of("digits") == [], "refused before there is a run"
    with pytest.raises(ConfigError, match=r"CrossEntropyLoss is no mean over rows"):
        must_be_a_mean(nn.CrossEntropyLoss(reduction="sum"))
    with pytest.raises(ConfigError, match=r"MultiMarginLoss is no mean"):
        must_be_a_mean(nn.MultiMarginLoss(weight=torch.ones(3)))
    must_be_a_mean(nn.CrossEntropyLoss(weight=torch.ones(3)))

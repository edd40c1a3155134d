"""The settings of Lightning's Trainer that say how many batches there are: of a step, of an epoch, of a first try."""

from __future__ import annotations

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
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file
from tests import forked
from tests.learner.conftest import assert_same_weights

from flywheel.learner.blocks import Blocks
from flywheel.learner.data import Part
from flywheel.learner.fit import Fitted
from flywheel.learner.tracked import train
from flywheel.project.compose import compose_task
from flywheel.project.errors import ConfigError
from flywheel.project.params import task_from
from flywheel.project.tracking import prepare

# In float64 only the order of sums differs. 223 rows are 13 batches of 16 and one of 15, so that the last step of an
# epoch has fewer batches than the others, and the last batch fewer rows.
EXACT = ["trainer.precision=64-true", "trainer.max_epochs=3", "scheduler=cosine", "trainer.gradient_clip_norm=0.5"]
PENALTIES = ["loss.l1=1e-4", "loss.l2=1e-3", "loss.class_weights=balanced"]


def fit_here(processed: Path, target: Path, *words: str) -> Fitted:
    return train(task_from(compose_task(Path.cwd(), ["task=digits", *words]), ""), processed, target)


LIMITED = ["trainer.limit_train_batches=6"], ["trainer.limit_train_batches=2"]  # batches of 16 rows, and of 48


@pytest.mark.parametrize(
    ("pieces_also", "whole_also"),
    [([], []), (PENALTIES, PENALTIES), LIMITED],
    ids=["plain", "penalties", "limited"],
)
def test_accumulated_batches_train_to_what_larger_ones_do(
    uneven: Path, tmp_path: Path, pieces_also: list[str], whole_also: list[str]
) -> None:
    words = ["trainer.batch_size=16", "trainer.accumulate_grad_batches=3", *EXACT, *pieces_also]
    pieces = fit_here(uneven, tmp_path / "pieces", *words)
    whole = fit_here(uneven, tmp_path / "whole", "trainer.batch_size=48", *EXACT, *whole_also)
    assert_same_weights(tmp_path / "pieces", tmp_path / "whole")
    assert [row["step"] for row in pieces.rows] == [row["step"] for row in whole.rows], "schedules count the same steps"
    for row, its in zip(pieces.rows, whole.rows, strict=True):
        assert its["lr"] == row["lr"]
        assert its["validation/loss"] == pytest.approx(row["validation/loss"], abs=1e-6)


def test_accumulated_batches_count_the_weights_of_rows(uneven: Path, tmp_path: Path) -> None:
    for part in ("train", "validation"):
        file = uneven / f"{part}.safetensors"
        arrays = load_arrays(file)
        weight = (1 + arrays["row"] % 5).astype("float32")
        save_file({**arrays, "weight": weight}, file)
    meta = json.loads((uneven / "meta.json").read_text())
    (uneven / "meta.json").write_text(json.dumps({**meta, "weighted": True}))
    fit_here(uneven, tmp_path / "pieces", "trainer.batch_size=16", "trainer.accumulate_grad_batches=3", *EXACT)
    fit_here(uneven, tmp_path / "whole", "trainer.batch_size=48", *EXACT)
    assert_same_weights(tmp_path / "pieces", tmp_path / "whole")


def test_rows_of_one_length_share_a_step_as_in_a_larger_batch() -> None:
    lengths = torch.arange(500) % 37 + 1
    part = Part({"ids": (torch.arange(40) < lengths[:, None]).long(), "target": torch.arange(500)})
    part.measure({"ids": 0})
    pieces, whole = Blocks(part, 8, 2, seed=1, accumulate=4), Blocks(part, 32, 2, seed=1)
    assert pieces.order().tolist() == whole.order().tolist()
    assert (pieces.num_steps, len(pieces)) == (whole.num_steps, len(whole))


@pytest.mark.slow
@pytest.mark.xdist_group("ranks")
def test_two_ranks_accumulate_to_what_one_does(project: Path, uneven: Path, tmp_path: Path) -> None:
    words = ["trainer.batch_size=15", "trainer.accumulate_grad_batches=3", *EXACT, *PENALTIES]
    fit_here(uneven, tmp_path / "alone", *words)
    fit_here(uneven, tmp_path / "ddp", *words, "trainer.devices=2")
    fit_here(uneven, tmp_path / "fsdp", *words, "trainer.devices=2", "trainer.strategy=fsdp")
    assert_same_weights(tmp_path / "alone", tmp_path / "ddp")
    assert_same_weights(tmp_path / "alone", tmp_path / "fsdp")


@pytest.mark.slow
def test_a_killed_training_with_accumulation_and_limits_resumes_to_the_same_weights(
    project: Path, processed: Path, run_flywheel: Callable[..., Any]
) -> None:
    words = ["trainer.max_epochs=30", "trainer.batch_size=16", "trainer.accumulate_grad_batches=3",
             "trainer.limit_train_batches=8", "trainer.limit_val_batches=0.5", "scheduler=one_cycle",
             "model.net.dropout=0.3"]  # fmt: skip
    task = compose_task(project, ["task=digits", *words])
    (project / "params.yaml").write_text(yaml.safe_dump({"tasks": {"digits": task}}))
    assert run_flywheel("train", "--task", "digits").returncode == 0
    model = project / "artifacts/digits/model"
    undisturbed = [(model / name).read_bytes() for name in ("model.safetensors", "history.csv")]

    command = [sys.executable, "-m", "flywheel.train", "--task", "digits"]
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    with forked.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 4/"):
                os.kill(process.pid, signal.SIGKILL)
                break
    done = run_flywheel("train", "--task", "digits")
    assert "resuming after epoch" in done.stderr
    assert [(model / name).read_bytes() for name in ("model.safetensors", "history.csv")] == undisturbed
    runs = prepare().search_runs([str(prepare().get_experiment_by_name("digits").experiment_id)])
    assert {run.data.params["trainer.limit_train_batches"] for run in runs} == {"8"}


def test_a_limit_is_a_number_of_batches_or_a_share_of_them(uneven: Path, tmp_path: Path) -> None:
    few = fit_here(uneven, tmp_path / "few", "trainer.limit_train_batches=3", "trainer.batch_size=16")
    share = fit_here(uneven, tmp_path / "share", "trainer.limit_train_batches=0.5", "trainer.batch_size=16")
    assert (few.rows[0]["step"], share.rows[0]["step"]) == (3, 7)
    one = fit_here(uneven, tmp_path / "one", "trainer.limit_val_batches=1", "trainer.batch_size=16")
    assert (one.rows[0]["validation/accuracy"] * 16) % 1 == pytest.approx(0), "16 rows of validation"


def test_fast_dev_run_is_one_epoch_of_a_batch_and_says_so(
    project: Path, processed: Path, run_flywheel: Callable[..., Any]
) -> None:
    done = run_flywheel("train", "task=digits", "trainer.fast_dev_run=true")
    assert done.returncode == 0, done.stderr
    assert "trainer.fast_dev_run: one epoch of so few batches that its model can be no champion" in done.stderr
    assert "epoch 1/1" in done.stderr
    (model,) = project.glob(".flywheel/runs/digits/*/model")
    assert json.loads((model / "model.json").read_text())["fast_dev_run"] is True
    assert (model / "history.csv").read_text().splitlines()[1].startswith("1,1,")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.limit_train_batches=0"], "trainer.limit_train_batches: 0 is out of range; use a whole number"),
        (["trainer.limit_val_batches=1.5"], "trainer.limit_val_batches: 1.5 is out of range"),
        (["trainer.limit_val_batches=true"], "trainer.limit_val_batches: True is out of range"),
        (["trainer.limit_train_batches=0.001"], "trainer.limit_train_batches: 0.001 of 7 batches is none"),
        (["trainer.fast_dev_run=-1"], "trainer.fast_dev_run: -1 is out of range; use true or false"),
        (["trainer.fast_dev_run=yes please"], "trainer.fast_dev_run: 'yes please' is out of range"),
        (["trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches: 0 is out of range; use at least 1"),
        (["trainer.accumulate_grad_batches=2", "+loss.criterion.reduction=sum"],
         "CrossEntropyLoss is no mean over rows that several batches could share"),
        (["trainer.accumulate_grad_batches=2", "loss.class_weights=sqrt", "+loss.distil.alpha=0.5"],
         "trainer.accumulate_grad_batches: class weights and a teacher divide the losses"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(uneven: Path, tmp_path: Path, words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        fit_here(uneven, tmp_path / "model", *words)

"""Training by the weights of rows: what is learnt is what repeated rows would teach."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from flywheel.learner.assemble import make_criterion
from flywheel.learner.bpr import BPR
from flywheel.learner.criterion import BinaryCrossEntropy, class_weights, row_losses
from flywheel.learner.distillation import Distillation
from flywheel.learner.fit import Fitted, fit
from flywheel.preprocessor.pipeline.run import preprocess
from flywheel.project.compose import compose_task
from flywheel.project.config import DistilConfig, ReaderConfig
from flywheel.project.errors import ConfigError
from flywheel.project.params import task_from

B, C = 12, 3
TIMES = torch.tensor([1, 2, 3, 1, 4, 1, 2, 1, 5, 1, 1, 2])
CLASSES = torch.tensor([0.5, 2.0, 1.25])


@pytest.mark.parametrize(("criterion", "shape", "is_number"), [
    (nn.CrossEntropyLoss(), (B, C), False),
    (nn.CrossEntropyLoss(weight=CLASSES, label_smoothing=0.1), (B, C), False),
    (nn.NLLLoss(weight=CLASSES), (B, C), False),
    (BinaryCrossEntropy(0.1, weight=CLASSES), (B, C), False),
    (BinaryCrossEntropy(weight=CLASSES[:2]), (B,), False),
    (nn.MSELoss(), (B,), True),
    (nn.SmoothL1Loss(beta=0.3), (B,), True),
])  # fmt: skip
def test_a_row_of_weight_three_is_worth_three_rows(
    criterion: nn.Module, shape: tuple[int, ...], is_number: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator)
    classes = torch.randint(C if len(shape) > 1 else 2, (B,), generator=generator)
    target = torch.randn(B, generator=generator) if is_number else classes
    by_class = class_weights(criterion, target)
    parts = TIMES if by_class is None else TIMES * by_class
    found = (row_losses(criterion, logits, target) * TIMES).sum() / parts.sum()
    assert torch.allclose(found, criterion(logits.repeat_interleave(TIMES, 0), target.repeat_interleave(TIMES)))


@pytest.mark.parametrize(("answer", "shape"), [("classes", (B, C)), ("classes", (B,)), ("numbers", (B,))])
def test_a_teacher_is_followed_by_weight(answer: str, shape: tuple[int, ...]) -> None:
    teaching = Distillation.__new__(Distillation)
    teaching._settings = DistilConfig(alpha=0.5, temperature=2.0, answer=answer)
    own, wanted = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))
    repeated = teaching.distance(own.repeat_interleave(TIMES, 0), wanted.repeat_interleave(TIMES, 0))
    assert torch.allclose(teaching.distance(own, wanted, TIMES.float()), repeated)


@pytest.mark.parametrize("criterion", [BPR(), nn.CrossEntropyLoss(reduction="sum")])
def test_a_loss_without_one_for_each_row_is_refused(criterion: nn.Module) -> None:
    with pytest.raises(
        ConfigError, match=r"gives no loss for each row, .* weights; choose a loss with reduction: mean"
    ):
        row_losses(criterion, torch.zeros(B, C), torch.zeros(B, dtype=torch.int64))


def test_it_is_refused_before_a_run_is_begun(root: Path) -> None:
    task = task_from(compose_task(root, ["task=movielens", "loss=bpr"]), "")
    assert isinstance(make_criterion(task.loss, {}), BPR)
    with pytest.raises(ConfigError, match=r"loss.criterion: BPR gives no loss for each row"):
        make_criterion(task.loss, {"weighted": ["train"]})


def trained(folder: Path, processed: Path, *words: str) -> Fitted:
    """Train the task `digits` on processed data."""
    task = task_from(compose_task(Path.cwd(), ["task=digits", "trainer.accelerator=cpu", *words]), "")
    folder.mkdir()
    meta = json.loads((processed / "meta.json").read_text())
    nothing: Any = lambda *_: None  # noqa: E731
    return fit(task, processed, meta, folder, folder / "last.ckpt", on_start=nothing, on_row=nothing)


def test_weights_train_as_repeated_rows_do(project: Path, processed: Path, tmp_path: Path) -> None:
    """With every row in one batch, in float64, and penalties and class weights beside: the same weights and losses."""
    words = ("model=mlp", "trainer.precision=64-true", "trainer.batch_size=2000", "trainer.max_epochs=5",
             "loss.class_weights=balanced", "loss.l1=1e-4", "loss.l2=1e-3", "trainer.keep=last")  # fmt: skip
    arrays = {part: load_file(processed / f"{part}.safetensors") for part in ("train", "validation")}
    found = {}
    for kind in ("repeated", "weighted"):
        for part, held in arrays.items():
            times = 1 + held["row"] % 3
            if kind == "repeated":
                made = {name: np.repeat(array, times, axis=0) for name, array in held.items()}
            else:
                made = {**held, "weight": times.astype(np.float32) * 0.5}
            save_file(made, processed / f"{part}.safetensors")
        found[kind] = trained(tmp_path / kind, processed, *words)
    one, other = (load_file(tmp_path / kind / "model.safetensors") for kind in found)
    for name, value in one.items():
        assert value == pytest.approx(other[name], abs=1e-9), name
    for row, its in zip(found["repeated"].rows, found["weighted"].rows, strict=True):
        for name in ("train/loss", "validation/loss"):
            assert row[name] == pytest.approx(its[name], rel=1e-6)


def test_wrong_labels_of_little_weight_are_not_learnt(root: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(900, 2))
    true = np.where(x[:, 0] + x[:, 1] > 0, "above", "below")
    lies = np.arange(900) % 3 > 0  # two rows of three say the opposite
    label = np.where(lies, np.where(true == "above", "below", "above"), true)
    frame = pd.DataFrame(x, columns=["a", "b"]).assign(label=label, trust=np.where(lies, 0.001, 1.0))
    read = {"_target_": "flywheel.reader.table.TableReader", "path": "t.csv", "label_column": "label"}
    words = [
        "task=breast_cancer",
        "trainer.accelerator=cpu",
        "trainer.max_epochs=20",
        "optimizer.lr=0.01",
        "metric.monitor.name=loss",
        "metric.monitor.mode=min",
    ]
    task = task_from(compose_task(root, words), "")
    right = {}
    (tmp_path / "raw").mkdir()
    frame.to_csv(tmp_path / "raw/t.csv", index=False)
    for kind, reading in (("weighted", {"weight_column": "trust"}), ("plain", {"columns": ["a", "b"]})):
        own = replace(task, data=replace(task.data, reader=ReaderConfig({**read, **reading})))
        own = replace(own, preprocess=replace(own.preprocess, target={
            "_target_": "flywheel.preprocessor.target.ClassTarget"}))  # fmt: skip
        data, model = tmp_path / kind, tmp_path / f"{kind}-model"
        meta = preprocess(own, tmp_path / "raw", Path("/nowhere"), data)
        model.mkdir()
        nothing: Any = lambda *_: None  # noqa: E731
        fit(own, data, meta, model, data / "last.ckpt", on_start=nothing, on_row=nothing)
        right[kind] = share_right(model, data, true, meta["classes"])
    assert right["weighted"] > 0.95
    assert right["plain"] < 0.1


def share_right(model: Path, data: Path, true: Any, classes: list[str]) -> float:
    """How many test rows a model answers as the rule does, whatever their label says."""
    from flywheel.model.network import load_network

    test = load_file(data / "test.safetensors")
    network = load_network(model).network
    with torch.inference_mode():
        logits = network(**{name: torch.from_numpy(test[name]) for name in network.input_names})
    answers = (logits > 0).long() if logits.ndim == 1 else logits.argmax(dim=1)
    return float((np.array(classes)[answers.numpy()] == true[test["row"]]).mean())

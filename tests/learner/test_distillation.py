from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from flywheel.learner.distillation import Distillation, load_parent
from flywheel.model.network import load_network
from flywheel.project.config import DistilConfig
from flywheel.project.errors import ModelError
from flywheel.project.whole import read_json


@pytest.fixture
def student(project: Path, digits: Any) -> Any:
    """The digits task, taught by the model in `artifacts/digits/model`."""
    digits.use("good", project)
    distil = DistilConfig(alpha=0.5, temperature=2.0)
    task = digits.task
    return replace(
        task,
        loss=replace(task.loss, distil=distil),
        trainer=replace(task.trainer, parent="artifacts/digits/model"),
    )


def test_the_distance_is_hintons(student: Any) -> None:
    distillation = Distillation(load_network(Path("artifacts/digits/model")), student.loss.distil)
    own, wanted = torch.tensor([[1.0, -1.0, 0.5]]), torch.tensor([[3.0, 0.0, -2.0]])
    soft = torch.softmax(wanted / 2, dim=-1)
    expected = (soft * (soft.log() - torch.log_softmax(own / 2, dim=-1))).sum() * 4
    assert torch.allclose(distillation.distance(own, wanted), expected)
    binary = distillation.distance(own[0], wanted[0])
    yes, no = torch.sigmoid(wanted[0] / 2), torch.sigmoid(-wanted[0] / 2)
    entropy = -(yes * yes.log() + no * no.log()).mean()
    crossed = functional.binary_cross_entropy_with_logits(own[0] / 2, yes)
    assert torch.allclose(binary, 4 * (crossed - entropy), atol=1e-5)
    numbers = Distillation(load_network(Path("artifacts/digits/model")), replace(student.loss.distil, answer="numbers"))
    assert torch.allclose(numbers.distance(own, wanted), ((own - wanted) ** 2).mean())


def test_teacher_and_labels_share_the_loss_and_the_teacher_learns_nothing(student: Any) -> None:
    teacher = load_network(Path("artifacts/digits/model"))
    distillation = Distillation(teacher, student.loss.distil)
    inputs = teacher.network.scale({"image": torch.zeros((4, 1, 8, 8), dtype=torch.uint8)})
    own = torch.zeros((4, 10), requires_grad=True)
    loss = distillation.blend(own.sum() + 3, own, inputs)
    assert torch.allclose(loss, 1.5 + 0.5 * distillation.distance(own, teacher.network.net(**inputs)))
    loss.backward()
    assert own.grad is not None
    assert all(parameter.grad is None for parameter in teacher.network.parameters())
    assert not teacher.network.training


def test_a_parent_of_other_data_or_none_is_one_line(student: Any, digits: Any) -> None:
    meta = read_json(Path(digits.processed) / "meta.json")
    parent = load_parent(student, meta)
    assert parent is not None
    assert load_parent(digits.task, meta) is None
    with pytest.raises(ModelError, match="trained on data with other classes"):
        load_parent(student, {**meta, "classes": ["a"]})
    lost = replace(student, trainer=replace(student.trainer, parent="artifacts/nothing/model"))
    with pytest.raises(ModelError, match=r"trainer.parent: no trained model in artifacts/nothing/model"):
        load_parent(lost, meta)

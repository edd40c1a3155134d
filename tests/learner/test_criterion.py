from __future__ import annotations

import pytest
import torch
from torch import nn

from flywheel.learner.criterion import BinaryCrossEntropy, Quantile
from flywheel.project.instantiate import build
from flywheel.project.kind import CRITERION

TARGET = torch.tensor([0, 1, 1, 0, 1])


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(5, generator=torch.Generator().manual_seed(0))


# Not both: PyTorch weighs the smoothed part by the class that it falls on, not by the row's.
@pytest.mark.parametrize(
    ("smoothing", "weight"), [(0.0, None), (0.2, None), (0.0, torch.tensor([0.5, 2.0]))]
)  # fmt: skip
def test_one_logit_is_cross_entropy_of_two(logits: torch.Tensor, smoothing: float, weight: torch.Tensor | None) -> None:
    pair = torch.stack([torch.zeros(5), logits], dim=1)
    wanted = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)(pair, TARGET)
    assert BinaryCrossEntropy(smoothing, weight)(logits, TARGET).item() == pytest.approx(wanted.item())


def test_a_logit_for_each_class_is_judged_against_the_rest(logits: torch.Tensor) -> None:
    pair = torch.stack([logits, -2 * logits], dim=1)
    hot = torch.eye(2)[TARGET]
    wanted = nn.BCEWithLogitsLoss()(pair, hot)
    assert BinaryCrossEntropy()(pair, TARGET).item() == pytest.approx(wanted.item())


def test_it_is_built_from_configuration_with_class_weights(logits: torch.Tensor) -> None:
    node = {"_target_": "flywheel.learner.criterion.BinaryCrossEntropy", "label_smoothing": 0.0}
    weighted = build(node, CRITERION, where="loss", weight=torch.tensor([1.0, 3.0]))
    assert weighted(logits, TARGET) != build(node, CRITERION, where="loss")(logits, TARGET)


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"label_smoothing 1.0 is not in \[0, 1\)"):
        BinaryCrossEntropy(1.0)


def test_the_quantile_is_where_its_loss_is_least() -> None:
    target = torch.arange(1001.0)
    losses = [Quantile(0.9)(torch.full_like(target, float(answer)), target).item() for answer in range(1001)]
    assert losses.index(min(losses)) == 900
    assert Quantile(0.9, reduction="none")(target, target).tolist() == [0.0] * 1001
    with pytest.raises(ValueError, match="quantile"):
        Quantile(1.0)

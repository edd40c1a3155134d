from __future__ import annotations

import pytest
import torch

from flywheel.model.link import BinaryProbabilities, Unscale


def test_unscale_gives_the_targets_own_units() -> None:
    logits = torch.tensor([-1.0, 0.0, 2.0])
    assert Unscale(10, 5)(logits).tolist() == [5.0, 10.0, 20.0]
    assert Unscale(0, 1, log1p=True)(torch.log1p(torch.tensor([7.0]))).tolist() == [pytest.approx(7)]


def test_one_unit_answers_for_both_classes() -> None:
    found = BinaryProbabilities()(torch.tensor([0.0, 2.0, -200.0, 200.0]))
    assert found.shape == (4, 2)
    assert found.sum(dim=1).tolist() == pytest.approx([1, 1, 1, 1])
    assert found[:, 1].tolist() == pytest.approx([0.5, torch.sigmoid(torch.tensor(2.0)).item(), 0, 1])


def test_a_unit_for_each_class_keeps_their_order() -> None:
    logits = torch.tensor([[1.0, -1.0, 3.0], [-200.0, -300.0, -250.0]])
    found = BinaryProbabilities()(logits)
    units = torch.sigmoid(logits[0])
    assert found[0].tolist() == pytest.approx((units / units.sum()).tolist())
    assert found[1].tolist() == pytest.approx([1, 0, 0])

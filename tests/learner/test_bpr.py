from __future__ import annotations

import math

import torch

from flywheel.learner.bpr import BPR


def test_it_is_the_mean_over_pairs_by_plain_loops() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(5, 4), torch.tensor([0, 3, 1, 0, 2])
    terms = [
        -math.log(1 / (1 + math.exp(-(row[wanted] - row[other]))))
        for row, wanted in zip(logits.tolist(), target.tolist(), strict=True)
        for other in range(4)
        if other != wanted
    ]
    assert math.isclose(BPR()(logits, target).item(), sum(terms) / len(terms), rel_tol=1e-5)


def test_items_that_are_ruled_out_add_nothing_and_the_gradient_is_finite() -> None:
    logits = torch.tensor([[0.0, -1e9, -1e9]], requires_grad=True)
    loss = BPR()(logits, torch.tensor([0]))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(logits.grad).all()


def test_a_step_against_the_gradient_raises_the_wanted_item() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    BPR()(logits, torch.tensor([1, 2])).backward()
    assert (logits.grad[[0, 1], [1, 2]] < 0).all()
    assert (logits.grad.sum(dim=1).abs() < 1e-6).all()

import math
from pathlib import Path

import pytest
import torch
import yaml

from flywheel.learner.scheduler import constant, cosine, one_cycle
from flywheel.project.instantiate import check_node
from flywheel.project.kind import SCHEDULER


def rates(make, steps: int, **arguments: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = make(optimizer, steps, **arguments)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_one_cycle_is_pytorch_s_own_curve() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    peer = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.5, total_steps=101, pct_start=0.3, div_factor=25, final_div_factor=1e4, cycle_momentum=False
    )
    ours = rates(one_cycle, 100)
    for step in range(100):
        assert ours[step] == pytest.approx(optimizer.param_groups[0]["lr"], rel=0.05, abs=1e-3), step
        optimizer.step()
        peer.step()


def test_one_cycle_starts_low_peaks_at_lr_and_ends_at_nearly_nothing() -> None:
    seen = rates(one_cycle, 200, warmup=0.25)
    assert seen[0] == pytest.approx(0.02)
    assert max(seen) == seen[50] == pytest.approx(0.5)
    assert seen[-1] < 1e-3


def test_cosine_halves_in_the_middle() -> None:
    seen = rates(cosine, 100)
    assert seen[0] == 0.5
    assert seen[50] == pytest.approx(0.25)
    assert seen == sorted(seen, reverse=True)
    assert rates(cosine, 100, warmup=0.1)[0] == pytest.approx(0.05)
    assert math.isclose(rates(cosine, 100, end_factor=0.1)[-1], 0.05, rel_tol=0.02)


def test_constant_is_no_schedule() -> None:
    assert constant(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5), 10) is None


def test_every_schedule_of_conf_may_be_built(root: Path) -> None:
    for file in sorted((root / "conf/scheduler").glob("*.yaml")):
        check_node(yaml.safe_load(file.read_text()), SCHEDULER, where=file.stem)

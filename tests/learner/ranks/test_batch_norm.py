"""The arithmetic of one rank; that of several is in test_ranks.py, in real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from flywheel.learner.data import RankShare
from flywheel.learner.machine import Machine
from flywheel.learner.ranks.batch_norm import SharedBatchNorm, share_batch_norm
from flywheel.learner.ranks.ranks import Ranks
from flywheel.learner.ranks.world import Place
from flywheel.project.config import TrainerConfig


@pytest.fixture
def ranks(tmp_path: Path) -> Iterator[Ranks]:
    """A group of one."""
    config = TrainerConfig()
    machine = Machine("cpu", 1, 1, "ddp", "gloo", "cpu", "32-true", 1, config.hold, 1)
    made = Ranks(Place(0, 1, 0, 1, "127.0.0.1", 0), machine, dist.FileStore(str(tmp_path / "store"), 1))
    yield made
    made.leave()


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 5), (4, 3, 5, 5)])
def test_it_is_torch_s_batch_normalisation(ranks: Ranks, shape: tuple[int, ...], momentum: float | None) -> None:
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    torch.manual_seed(0)
    nets = [nn.Sequential(kind(3, momentum=momentum, dtype=torch.float64)) for _ in range(2)]
    share_batch_norm(nets[1], ranks)
    assert isinstance(nets[1][0], SharedBatchNorm)
    for _ in range(2):
        x = torch.randn(shape, dtype=torch.float64) * 3 + 1
        given = [x.clone().requires_grad_() for _ in nets]
        outputs = [net(x) for net, x in zip(nets, given, strict=True)]
        for output in outputs:
            (
                output.square() * torch.arange(3).reshape([1, -1] + [1] * (len(shape) - 2)) + output.exp()
            ).sum().backward()
        assert torch.allclose(*outputs, atol=1e-12)
        assert torch.allclose(given[0].grad, given[1].grad, atol=1e-12)
    for name, value in nets[0].state_dict().items():
        assert torch.allclose(value, nets[1].state_dict()[name], atol=1e-12), name
    assert torch.allclose(nets[0].eval()(x), nets[1].eval()(x), atol=1e-12)


def test_a_rank_s_part_of_the_mean_weighs_rows_or_classes(ranks: Ranks) -> None:
    share = RankShare(own=2, whole=8)
    target = torch.tensor([0, 1])
    plain = ranks.part_of_mean(torch.tensor(4.0), nn.CrossEntropyLoss(), target, share)
    assert plain == 1.0
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]))
    assert ranks.part_of_mean(torch.tensor(4.0), weighted, target, share) == 4.0, "all the weight there is"
    ranks.begin(RankShare(own=0, whole=8))
    assert ranks.part_of_mean(torch.tensor(4.0), nn.CrossEntropyLoss(), target, RankShare(0, 8)) == 0.0

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from flywheel.learner.data import Part
from flywheel.learner.fit import quiet
from flywheel.learner.frozen import frozen_part, is_frozen
from flywheel.model.network import Network


class Half(nn.Module):
    """A frozen embedding, averaged, below a trained layer."""

    def __init__(self, frozen: bool = True) -> None:
        super().__init__()
        self.is_frozen = frozen
        self.embedding = nn.Embedding(9, 4).requires_grad_(not frozen)
        self.layer = nn.Linear(4, 2)
        self.calls = 0

    def frozen_features(self, tokens: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        mask = (tokens != 0)[..., None]
        return {"pooled": (self.embedding(tokens) * mask).sum(1) / mask.sum(1)}

    def head(self, pooled: Tensor) -> Tensor:
        logits: Tensor = self.layer(pooled)
        return logits

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(**self.frozen_features(tokens))


@pytest.fixture
def part() -> Part:
    torch.manual_seed(0)
    lengths = torch.randint(1, 8, (300,))
    tokens = torch.where(torch.arange(8) < lengths[:, None], torch.randint(1, 9, (300, 8)), 0)
    made = Part({"tokens": tokens, "target": torch.arange(300)})
    made.measure({"tokens": 0})
    return made


@pytest.fixture
def network(project: Path) -> Network:
    torch.manual_seed(1)
    return Network(Half(), {"tokens": {"dtype": "int64", "shape": [8], "padding": 0}})


def test_the_features_are_those_of_the_net_in_the_rows_own_order(network: Network, part: Part) -> None:
    features = frozen_part(network, part, "a" * 64, torch.device("cpu"))
    rows = features.gather(torch.arange(300))
    whole = part.gather(torch.arange(300))
    assert rows["target"].tolist() == list(range(300))
    torch.testing.assert_close(network.net.head(rows["pooled"]), network(tokens=whole["tokens"]))
    assert network.net.training


def test_features_are_computed_once_for_the_same_weights_and_data(network: Network, part: Part) -> None:
    device = torch.device("cpu")
    first = frozen_part(network, part, "a" * 64, device).gather(torch.arange(300))["pooled"]
    calls = network.net.calls
    nn.init.zeros_(network.net.layer.weight)  # the head is not part of the key
    again = frozen_part(network, part, "a" * 64, device).gather(torch.arange(300))["pooled"]
    assert network.net.calls == calls
    assert torch.equal(first, again)
    frozen_part(network, part, "b" * 64, device)
    assert network.net.calls == 2 * calls
    with torch.no_grad():
        network.net.embedding.weight.add_(1)
    other = frozen_part(network, part, "a" * 64, device).gather(torch.arange(300))["pooled"]
    assert not torch.allclose(first, other)


def test_features_are_computed_anew_for_other_settings_of_the_frozen_part(part: Part, project: Path) -> None:
    class Scaled(Half):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.embedding.max_norm = factor

    found = []
    for factor in (0.5, 1.0):
        torch.manual_seed(1)
        network = Network(Scaled(factor), {"tokens": {"dtype": "int64", "shape": [8], "padding": 0}})
        frozen_part(network, part, "a" * 64, torch.device("cpu"))
        found.append(network.net.calls)
    assert found == [5, 5]


def test_a_net_without_a_frozen_part_is_told_apart() -> None:
    assert not is_frozen(Network(Half(frozen=False), {}))
    assert not is_frozen(Network(nn.Identity(), {}))


def test_a_frozen_part_in_eval_mode_is_no_news() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet()
        warnings.warn("Found 53 module(s) in eval mode at the start of training. This may lead to", stacklevel=1)

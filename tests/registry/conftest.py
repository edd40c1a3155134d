"""Fixtures for the registry: an ONNX file of a tiny network, and versions in a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture
def registered(project: Path, digits: Any) -> Callable[..., Any]:
    """Register one of the digits models in the project; gives its decision."""
    import json
    from dataclasses import replace

    from flywheel.register import register

    def run(name: str, **rules: Any) -> dict[str, Any]:
        digits.use(name, project)
        register(replace(digits.task, register=replace(digits.task.register, **rules)))
        decision: dict[str, Any] = json.loads((project / "artifacts/digits/decision.json").read_text())
        return decision

    return run


@pytest.fixture
def version(at_store: Path) -> Path:
    """The files of digits/1; to read."""
    from flywheel.project.tracking import prepare
    from flywheel.registry.versions import files_of, resolve

    client = prepare()
    return files_of(client, resolve(client, "digits", "1"))


@pytest.fixture
def sums(at_store: Path) -> dict[str, str]:
    """What the registry's tags say of the files of digits/1."""
    from flywheel.project.tracking import prepare
    from flywheel.registry.versions import resolve

    return resolve(prepare(), "digits", "1").sums


class TwoInputs(torch.nn.Module):
    """Two inputs of different types."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(5, 3)
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.table(inputs["words"]).mean(1) + self.linear(inputs["numbers"])
        return hidden


class Branching(TwoInputs):
    """Does what no graph can hold: looks at the values of its input."""

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        if inputs["numbers"].sum() > 0:
            return super().forward(**inputs)
        return inputs["numbers"]


class FixedRows(TwoInputs):
    """Takes batches of two rows only."""

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(**inputs) + torch.ones(2, 3)


@pytest.fixture
def two_inputs() -> Callable[..., Any]:
    """A loaded network with the inputs `words` (int64) and `numbers` (float32, scaled)."""
    from flywheel.model.network import LoadedNetwork, Network

    def make(kind: str = "TwoInputs") -> LoadedNetwork:
        torch.manual_seed(0)
        inputs = {
            "words": {"dtype": "int64", "shape": [6]},
            "numbers": {"dtype": "float32", "shape": [4], "mean": [1.0, 2.0, 3.0, 4.0], "std": [2.0] * 4},
        }
        net = {"TwoInputs": TwoInputs, "Branching": Branching, "FixedRows": FixedRows}[kind]()
        network = Network(net, inputs).eval()
        return LoadedNetwork(network, torch.nn.Softmax(dim=-1), {"inputs": inputs}, {}, "0" * 64)

    return make

"""Data that no batch of the tests divides, and what two trainings that only add in another order end with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file
from safetensors.torch import load_file

# Thirteen batches of 16 and one of 15; six of 37 and a single row.
ROWS = 223
TOLERANCE = 1e-9


@pytest.fixture
def uneven(processed: Path) -> Path:
    """Processed data of `digits`, with so many rows, and classes that are not of one size."""
    file = processed / "train.safetensors"
    save_file({name: x[:ROWS] for name, x in load_arrays(file).items()}, file)
    meta = json.loads((processed / "meta.json").read_text())
    (processed / "meta.json").write_text(json.dumps({**meta, "class_counts": [30, 60, 133]}))
    return processed


def assert_same_weights(one: Path, other: Path) -> None:
    """Those of two model folders are the same, to a tolerance."""
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.allclose(value.double(), second[name].double(), rtol=0, atol=TOLERANCE), name

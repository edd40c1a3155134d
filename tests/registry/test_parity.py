from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from flywheel.model.network import load_network
from flywheel.project.errors import DataError
from flywheel.registry.onnx_model import OnnxModel
from flywheel.registry.parity import compare, power_of_ten_above


def test_a_network_and_its_export_agree_on_every_row(digits: Any) -> None:
    test = digits.folder / digits.processed / "test.safetensors"
    loaded, exported = load_network(digits.folder / "good/model"), OnnxModel(digits.folder / "good/export/fp32.onnx")
    found = compare(loaded, exported, test, batch_rows=100)
    stored = load_file(test)
    assert found.agreement == 1
    assert 0 < found.max_difference <= found.bound <= 1e-5
    assert np.array_equal(found.row, stored["row"])
    assert np.array_equal(found.target, stored["target"])
    assert np.array_equal(found.scores, compare(loaded, exported, test).scores)


def test_another_network_does_not_agree(digits: Any) -> None:
    test = digits.folder / digits.processed / "test.safetensors"
    found = compare(load_network(digits.folder / "bad/model"), OnnxModel(digits.folder / "good/export/fp32.onnx"), test)
    assert found.agreement < 0.5
    assert found.bound == 1


def test_nan_is_no_small_difference(digits: Any) -> None:
    class Silent(OnnxModel):
        def scores(self, inputs: Any, *, batch_rows: int = 256) -> Any:
            return np.full_like(super().scores(inputs), np.nan)

    test = digits.folder / digits.processed / "test.safetensors"
    found = compare(load_network(digits.folder / "good/model"), Silent(digits.folder / "good/export/fp32.onnx"), test)
    assert found.max_difference == np.inf


def test_an_empty_or_missing_split_is_refused(digits: Any, tmp_path: Path) -> None:
    loaded, exported = load_network(digits.folder / "good/model"), OnnxModel(digits.folder / "good/export/fp32.onnx")
    nothing = {"image": np.empty((0, 1, 8, 8), np.uint8), "target": np.empty(0, np.int64), "row": np.empty(0, np.int64)}
    save_file(nothing, tmp_path / "empty.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"x" * 100)
    for name, words in (("empty", "has no rows"), ("none", "missing"), ("broken", "damaged")):
        with pytest.raises(DataError, match=words):
            compare(loaded, exported, tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize(("value", "bound"), [(0.0, 0.0), (2.4e-7, 1e-6), (1e-6, 1e-6), (0.5, 1.0), (3.0, 10.0)])
def test_differences_are_told_as_powers_of_ten(value: float, bound: float) -> None:
    assert power_of_ten_above(value) == bound

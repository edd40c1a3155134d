from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flywheel.project.errors import ModelError
from flywheel.registry.onnx_model import OnnxModel
from flywheel.registry.variant.base import Material
from flywheel.registry.variant.sparse import Sparse


def test_zeros_are_not_stored_and_scores_stay_the_same(
    linear: Path, material_of: Callable[[Path], Material], tmp_path: Path
) -> None:
    small = tmp_path / "sparse.onnx"
    told = Sparse().make(material_of(linear), small)
    assert 0.7 < told["zeros"] < 0.85
    assert small.stat().st_size < 0.8 * linear.stat().st_size
    x = {"x": np.random.default_rng(2).normal(size=(50, 32)).astype(np.float32)}
    assert np.array_equal(OnnxModel(small).scores(x), OnnxModel(linear).scores(x))


def test_dense_weights_are_refused(digits_material: Material, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights have zeros enough"):
        Sparse().make(digits_material, tmp_path / "sparse.onnx")

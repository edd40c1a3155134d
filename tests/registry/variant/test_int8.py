from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from flywheel.project.errors import ConfigError, DataError, ModelError
from flywheel.registry.onnx_model import OnnxModel
from flywheel.registry.variant.base import Maker, Material
from flywheel.registry.variant.int8 import DynamicInt8, StaticInt8


@pytest.mark.parametrize("maker", [DynamicInt8(), StaticInt8(num_rows=64), StaticInt8(num_rows=64, method="entropy")])
def test_weights_become_int8_scores_stay_close_and_bytes_the_same_for_the_same_material(
    linear: Path,
    material_of: Callable[[Path], Material],
    tmp_path: Path,
    maker: Maker,
    capfd: pytest.CaptureFixture[str],
) -> None:
    material, small = material_of(linear), tmp_path / "small.onnx"
    handlers = list(logging.getLogger().handlers)
    maker.make(material, small)
    first = small.read_bytes()
    maker.make(material, small)
    assert small.read_bytes() == first
    assert str(tmp_path).encode() not in first
    kinds = {item.data_type for item in onnx.load(small).graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    x = {"x": np.random.default_rng(2).normal(size=(50, 32)).astype(np.float32)}
    wanted = OnnxModel(linear).scores(x)
    assert 0 < np.abs(OnnxModel(small).scores(x) - wanted).max() < 0.1 * np.abs(wanted).max()
    assert (capfd.readouterr(), logging.getLogger().handlers) == (("", ""), handlers)


@pytest.mark.parametrize("maker", [DynamicInt8(), StaticInt8(num_rows=64)])
def test_a_row_has_the_same_scores_whatever_shares_its_batch(
    linear: Path, material_of: Callable[[Path], Material], tmp_path: Path, maker: Maker
) -> None:
    small = tmp_path / "small.onnx"
    maker.make(material_of(linear), small)
    model, x = OnnxModel(small), np.random.default_rng(2).normal(size=(9, 32)).astype(np.float32)
    x[1] *= 100  # stretches a range that were one for the whole batch
    together = model.scores({"x": x})
    assert np.array_equal(together, np.concatenate([model.scores({"x": x[i : i + 1]}) for i in range(len(x))]))
    assert np.array_equal(together[2:5], model.scores({"x": x[2:5]}))


def test_calibration_rows_are_of_train_and_drawn_by_seed(linear: Path, material_of: Callable[[Path], Material]) -> None:
    material = material_of(linear)
    first, again, other = (material.draw(20, seed)["x"] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(material.draw(1000, 0)["x"]) == 200
    with pytest.raises(DataError, match="missing"):
        Material(linear, material.inputs, linear.parent / "none", material.row).draw(1, 0)


def test_what_cannot_be_quantised_says_why(
    write_model: Callable[..., Path], material_of: Callable[[Path], Material], tmp_path: Path
) -> None:
    nothing = write_model("nothing", [helper.make_node("Relu", ["x"], ["scores"])], {})
    with pytest.raises(ModelError, match="has nothing to quantise: no table and no Conv, Gemm, MatMul"):
        DynamicInt8().make(material_of(nothing), tmp_path / "small.onnx")
    with pytest.raises(ConfigError, match=r"'minmx' is not known.*did you mean 'minmax'"):
        StaticInt8(method="minmx")
    with pytest.raises(ValueError, match="num_rows must be above 0"):
        StaticInt8(num_rows=0)

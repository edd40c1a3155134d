from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from flywheel.project.errors import ConfigError, ModelError
from flywheel.registry.onnx_model import OnnxModel
from flywheel.registry.variant.base import Material
from flywheel.registry.variant.half import Half


def test_float16_halves_the_bytes_and_keeps_types_at_both_ends(digits_material: Material, tmp_path: Path) -> None:
    small = tmp_path / "fp16.onnx"
    Half("float16").make(digits_material, small)
    first = small.read_bytes()
    Half("float16").make(digits_material, small)
    assert small.read_bytes() == first
    assert len(first) < 0.75 * digits_material.source.stat().st_size
    test = load_file(digits_material.train.with_name("test.safetensors"))
    scores, wanted = OnnxModel(small).scores(test), OnnxModel(digits_material.source).scores(test)
    assert scores.dtype == np.float32
    assert 0 < np.abs(scores - wanted).max() < 0.01


def test_bfloat16_weights_are_the_nearest_and_this_machine_says_that_it_cannot_run_them(
    linear: Path, tmp_path: Path
) -> None:
    small = tmp_path / "bf16.onnx"
    Half("bfloat16").make(Material(linear, {}, linear, np.arange(3)), small)
    stored = onnx.load(small).graph.initializer[0]
    assert stored.data_type == onnx.TensorProto.BFLOAT16
    bits = np.frombuffer(stored.raw_data, "<u2").astype(np.uint32) << 16
    wanted = onnx.numpy_helper.to_array(onnx.load(linear).graph.initializer[0]).reshape(-1)
    assert np.allclose(bits.view(np.float32), wanted, rtol=2**-8, atol=0)
    with pytest.raises(ModelError, match="not an ONNX model that can run"):
        OnnxModel(small)


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="'int4' is not known"):
        Half("int4")

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from flywheel.project.errors import ModelError
from flywheel.registry.onnx_export import export_onnx
from flywheel.registry.onnx_model import OnnxModel


def example(rows: int) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(rows)
    return {
        "words": generator.integers(0, 5, (rows, 6)),
        "numbers": generator.normal(size=(rows, 4)).astype(np.float32),
    }


def test_the_graph_takes_inputs_by_name_and_any_number_of_rows(tmp_path: Path, two_inputs: Callable[..., Any]) -> None:
    loaded = two_inputs()
    export_onnx(loaded, tmp_path / "model.onnx", opset=20)
    model = OnnxModel(tmp_path / "model.onnx")
    assert model.input_names == ["words", "numbers"]
    for rows in (1, 2, 7):
        inputs = example(rows)
        wanted = loaded.predict({name: torch.from_numpy(array) for name, array in inputs.items()}).numpy()
        got = model.scores(inputs)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, wanted, atol=1e-6)
        np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-5)  # the link is part of the graph


def test_two_exports_are_byte_identical_and_tell_nothing_of_this_machine(
    tmp_path: Path, two_inputs: Callable[..., Any]
) -> None:
    files = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for file in files:
        export_onnx(two_inputs(), file, opset=20)
    content = files[0].read_bytes()
    assert content == files[1].read_bytes()
    for secret in (b"/work", b".py", b"stack_trace", b"torch.export", str(Path.home()).encode()):
        assert secret not in content
    assert sorted(tmp_path.iterdir()) == files


def test_weights_are_in_the_one_file_and_the_operator_set_is_the_one_asked_for(
    tmp_path: Path, two_inputs: Callable[..., Any]
) -> None:
    export_onnx(two_inputs(), tmp_path / "model.onnx", opset=18)
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    assert [item.version for item in model.opset_import if item.domain == ""] == [18]
    assert all(not weight.external_data for weight in model.graph.initializer)
    assert [item.name for item in model.graph.output] == ["scores"]


@pytest.mark.parametrize(("kind", "opset", "words"), [
    ("Branching", 20, "cannot be exported to ONNX"),
    ("TwoInputs", 999, "opset|operator set|exported"),
    ("FixedRows", 20, "exported to ONNX|fixed by the network"),
])  # fmt: skip
def test_what_cannot_be_exported_is_one_line(
    tmp_path: Path, two_inputs: Callable[..., Any], kind: str, opset: int, words: str
) -> None:
    with pytest.raises(ModelError, match=words) as raised:
        export_onnx(two_inputs(kind), tmp_path / "model.onnx", opset=opset)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500
    assert not (tmp_path / "model.onnx").exists()

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from flywheel.registry.onnx_model import OnnxModel
from flywheel.registry.variant.base import open_graph, write_graph
from flywheel.registry.variant.tables import eight_bits, quantise_tables


@pytest.mark.parametrize(("width", "shape"), [(3, (1, 3)), (64, (400, 1))])
def test_wide_rows_have_a_scale_each_and_narrow_tables_one_a_column(width: int, shape: tuple[int, int]) -> None:
    table = np.random.default_rng(0).normal(size=(400, width)).astype(np.float32)
    table[0] = 0
    stored, scale = eight_bits(table)
    assert (stored.dtype, scale.shape) == (np.int8, shape)
    assert np.abs(stored * scale - table).max() <= scale.max() / 2 + 1e-6
    assert (stored[0] == 0).all()


@pytest.mark.parametrize("width", [3, 64])
def test_what_is_looked_up_and_what_reads_the_whole_table_get_about_the_same(
    write_model: Callable[..., Path], tmp_path: Path, width: int
) -> None:
    table = np.random.default_rng(0).normal(size=(400, width)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["found"]),
        helper.make_node("ReduceMax", ["table"], ["largest"], keepdims=0),
        helper.make_node("Add", ["found", "largest"], ["scores"]),
    ]
    file = write_model("lookup", nodes, {"table": table}, tables=True)
    model = open_graph(file)
    assert quantise_tables(model) == 1
    small = tmp_path / "small.onnx"
    write_graph(model, small)
    ids = {"ids": np.array([[0, 1, 2, 399], [5, 5, 5, 5]])}
    got, wanted = OnnxModel(small).scores(ids), OnnxModel(file).scores(ids)
    assert got.shape == wanted.shape == (2, 4, width)
    assert 0 < np.abs(got - wanted).max() < 0.05
    assert small.stat().st_size < file.stat().st_size / (3 if width > 3 else 2)


def test_small_tables_integers_and_other_axes_are_left_alone(write_model: Callable[..., Path]) -> None:
    cases: list[tuple[Any, int]] = [
        (np.ones((10, 3), np.float32), 0),
        (np.ones((400, 3), np.int64), 0),
        (np.ones((400, 3), np.float32), 1),
    ]
    for table, axis in cases:
        nodes = [
            helper.make_node("Gather", ["table", "ids"], ["found"], axis=axis),
            helper.make_node("Cast", ["found"], ["scores"], to=onnx.TensorProto.FLOAT),
        ]
        model = open_graph(write_model("lookup", nodes, {"table": table}, tables=True))
        assert quantise_tables(model) == 0

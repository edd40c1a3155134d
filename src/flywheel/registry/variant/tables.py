"""Tables of vectors (embeddings) in eight bits: looked up first, scaled after, so that no table is ever unpacked.

ONNX Runtime's quantiser gives a table one scale, and its CPU kernels unpack a dequantised table whole. Here the bytes
are gathered, and only the rows that were asked for are scaled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flywheel.registry.variant.base import Array

MIN_CELLS = 1024
ROW_WIDTH = 16
"""From this width on each row has a scale of its own: four bytes a row are little beside the row then."""
_LARGEST = 127


def quantise_tables(model: Any) -> int:
    """Store every float table that `Gather` reads as int8, in place.

    Rows of `ROW_WIDTH` numbers and more have a scale each; in narrower tables each column has one. What reads the whole
    table gets it dequantised: ONNX Runtime computes that once, when it opens the file.

    Args:
        model: The model, an `onnx.ModelProto`.

    Returns:
        How many tables there were.
    """
    from onnx import numpy_helper

    graph = model.graph
    tables = {item.name: item for item in graph.initializer if _is_table(graph, item)}
    for name, item in tables.items():
        stored, scale = eight_bits(numpy_helper.to_array(item))
        graph.initializer.remove(item)
        names = f"{name}_int8", f"{name}_scale"
        graph.initializer.extend([numpy_helper.from_array(stored, names[0]), numpy_helper.from_array(scale, names[1])])
        _rewire(graph, name, *names, by_row=scale.shape[0] > 1)
    return len(tables)


def eight_bits(table: Array) -> tuple[Array, Array]:
    """Round a table to int8, symmetric about 0.

    Args:
        table: float32 [N, D].

    Returns:
        int8 [N, D] and its scales, float32 [N, 1] or [1, D].
    """
    by_row = table.shape[1] >= ROW_WIDTH
    largest = np.abs(table).max(axis=1 if by_row else 0, keepdims=True)
    scale = np.where(largest > 0, largest / _LARGEST, 1.0).astype(np.float32)
    return np.clip(np.rint(table / scale), -_LARGEST, _LARGEST).astype(np.int8), scale


def _is_table(graph: Any, item: Any) -> bool:
    from onnx import TensorProto

    if item.data_type != TensorProto.FLOAT or len(item.dims) != 2 or item.dims[0] * item.dims[1] < MIN_CELLS:
        return False
    return any(_looks_up(node, item.name) for node in graph.node)


def _looks_up(node: Any, name: str) -> bool:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    return node.op_type == "Gather" and node.input[0] == name and axis == 0


def _rewire(graph: Any, name: str, stored: str, scale: str, *, by_row: bool) -> None:
    """Let every reader of the table read the bytes and scale what it has read."""
    from onnx import helper

    nodes = []
    is_whole_made = False
    for node in graph.node:
        if _looks_up(node, name):
            made, index = node.output[0], node.input[1]
            nodes.append(helper.make_node("Gather", [stored, index], [f"{made}_int8"], axis=0))
            factor = f"{made}_scale" if by_row else scale
            if by_row:
                nodes.append(helper.make_node("Gather", [scale, index], [factor], axis=0))
            nodes += _scaled(f"{made}_int8", factor, made)
            continue
        if name in node.input and not is_whole_made:
            nodes += _scaled(stored, scale, name)
            is_whole_made = True
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _scaled(stored: str, scale: str, made: str) -> list[Any]:
    from onnx import TensorProto, helper

    return [
        helper.make_node("Cast", [stored], [f"{made}_cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{made}_cast", scale], [made]),
    ]

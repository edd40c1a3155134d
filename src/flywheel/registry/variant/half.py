"""Sixteen-bit variants: float16 and bfloat16, for accelerators that compute in them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from flywheel.project.errors import ConfigError, ModelError
from flywheel.project.types import Json
from flywheel.registry.variant.base import Array, Maker, Material, open_graph, write_graph

FORMS = ("float16", "bfloat16")


class Half(Maker):
    """The whole graph in 16 bits; inputs and scores keep their types.

    float16 has 11 bits of precision and ends at 65,504; bfloat16 has 8 bits and float32's range. ONNX Runtime's CPU
    kernels compute float16 in float32, between casts: half the bytes, and no faster. It has none for bfloat16.

    Args:
        dtype: `float16` or `bfloat16`.

    Raises:
        ConfigError: The type is another.
    """

    def __init__(self, dtype: str) -> None:
        if dtype not in FORMS:
            raise ConfigError(
                f"'{dtype}' is not known", where="export.variants: dtype", fix=f"use {' or '.join(FORMS)}"
            )
        self.dtype = dtype

    def make(self, material: Material, target: Path) -> Json:
        """Convert."""
        from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

        source = open_graph(material.source)
        kept = [*DEFAULT_OP_BLOCK_LIST, *(_without_bfloat16(source) if self.dtype == "bfloat16" else ())]
        with warnings.catch_warnings():
            # Numbers that float16 cannot hold become its largest or 0; what that costs is measured.
            warnings.filterwarnings("ignore", message=r"the float32 number .* will be truncated to")
            try:
                model = convert_float_to_float16(open_graph(material.source), keep_io_types=True, op_block_list=kept)
            except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
                raise ModelError(f"cannot be converted to {self.dtype}: {error}".splitlines()[0]) from error
        if self.dtype == "bfloat16":
            _to_bfloat16(model, {item.name: numpy_helper.to_array(item) for item in source.graph.initializer})
        _sort(model.graph)
        write_graph(model, target)
        return {}


def _without_bfloat16(model: Any) -> list[str]:
    """Operators of a graph that its operator set does not define for bfloat16; they stay in float32."""
    opset = next(item.version for item in model.opset_import if item.domain == "")
    found = []
    for name in sorted({node.op_type for node in model.graph.node}):
        constraints = onnx.defs.get_schema(name, opset).type_constraints
        kinds = [set(item.allowed_type_strs) for item in constraints]
        if any("tensor(float16)" in kind and "tensor(bfloat16)" not in kind for kind in kinds):
            found.append(name)
    return found


def _sort(graph: Any) -> None:
    """Put each node behind those whose outputs it reads: the converter adds its casts at the end."""
    known = {item.name for item in (*graph.input, *graph.initializer)} | {""}
    waiting, ordered = list(graph.node), []
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise ModelError("its nodes cannot be put in order")
        ordered += ready
        known.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not known.issuperset(node.input) or not known.issuperset(node.output)]
    del graph.node[:]
    graph.node.extend(ordered)


def _to_bfloat16(model: Any, exact: dict[str, Array]) -> None:
    """Turn each float16 of a graph into a bfloat16, weights from their float32 values."""
    half, brain = TensorProto.FLOAT16, TensorProto.BFLOAT16
    for item in model.graph.initializer:
        if item.data_type == half:
            _replace(item, exact.get(item.name, numpy_helper.to_array(item)))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == half:
                attribute.i = brain
            if attribute.HasField("t") and attribute.t.data_type == half:
                _replace(attribute.t, numpy_helper.to_array(attribute.t))
    for item in model.graph.value_info:
        if item.type.tensor_type.elem_type == half:
            item.type.tensor_type.elem_type = brain


def _replace(item: Any, values: Array) -> None:
    """Give a tensor these values as bfloat16, rounded to nearest, ties to even."""
    name, dims = item.name, list(item.dims)
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    item.Clear()
    item.name, item.data_type, item.raw_data = name, TensorProto.BFLOAT16, rounded.tobytes()
    item.dims.extend(dims)

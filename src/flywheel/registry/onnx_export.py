"""Turns a trained network into one ONNX file: stored inputs in, scores out, any number of rows."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from flywheel.model.network import LoadedNetwork
from flywheel.project.errors import ModelError
from flywheel.registry.onnx_model import OUTPUT

ROWS_AXIS = "rows"
_NOISY = ("torch.onnx._internal.exporter._registration", "onnxscript.version_converter")
_EXAMPLE_ROWS = 2  # torch.export takes 0 and 1 for constants


class _Scorer(nn.Module):
    """Network and link in one graph, with the inputs in a dict so that their names can be chosen freely."""

    def __init__(self, loaded: LoadedNetwork) -> None:
        super().__init__()
        self.network, self.link = loaded.network, loaded.link

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        scores: Tensor = self.link(self.network(**inputs))
        return scores


def export_onnx(loaded: LoadedNetwork, file: Path, *, opset: int) -> None:
    """Write the network and its link as one ONNX file, weights included; the same network gives the same bytes.

    Args:
        loaded: The loaded network, in eval mode.
        file: File to write.
        opset: The ONNX operator set.

    Raises:
        ModelError: The network does what ONNX, or this operator set, cannot express.
    """
    examples = {name: _example(spec) for name, spec in loaded.meta["inputs"].items()}
    rows = torch.export.Dim(ROWS_AXIS)
    try:
        with _quiet():
            program = torch.onnx.export(
                _Scorer(loaded).eval(),
                (),
                kwargs={"inputs": examples},
                input_names=list(examples),
                output_names=[OUTPUT],
                opset_version=opset,
                dynamic_shapes={"inputs": {name: {0: rows} for name in examples}},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ModelError(
            f"cannot be exported to ONNX: {_reason(error)}",
            where=loaded.description.get("net", {}).get("_target_"),
            fix="use operations that torch.export supports, or another export.opset",
        ) from error
    model = cast("torch.onnx.ONNXProgram", program).model_proto
    _complete(model, loaded.network.net)
    _make_reproducible(model)
    _check(model, list(examples), opset)
    file.write_bytes(model.SerializeToString(deterministic=True))


def _example(spec: dict[str, Any]) -> Tensor:
    return torch.zeros((_EXAMPLE_ROWS, *spec["shape"]), dtype=getattr(torch, spec["dtype"]))


def _complete(model: Any, net: nn.Module) -> None:
    """Give the nodes that nets put in the graph by themselves their attributes: torch's exporter passes no arrays."""
    for module in net.modules():
        if not hasattr(module, "onnx_attributes"):
            continue
        domain, operator, _ = cast("tuple[str, str, int]", module.ONNX_OPERATOR)
        attributes: dict[str, Any] = cast("Any", module).onnx_attributes()
        for node in model.graph.node:
            if (node.domain, node.op_type) == (domain, operator):
                for name, value in attributes.items():
                    stored = onnx.numpy_helper.from_array(value, name) if isinstance(value, np.ndarray) else value
                    node.attribute.append(onnx.helper.make_attribute(name, stored))


def _make_reproducible(model: Any) -> None:
    """Remove what depends on this machine: stack traces with folders, and the graph that torch saw."""
    graph = model.graph
    for holder in (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
        *model.functions,
        *(node for function in model.functions for node in function.node),
    ):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    graph.name = "flywheel"


def _check(model: Any, names: list[str], opset: int) -> None:
    """Hold the exporter to what was asked of it.

    Raises:
        ModelError: The graph is not valid, or is another than the one asked for.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the export is not valid ONNX: {error}".splitlines()[0]) from error
    got = [item.name for item in model.graph.input]
    if got != names or [item.name for item in model.graph.output] != [OUTPUT]:
        raise ModelError(f"export gave inputs {got}, not {names}", fix="the network must use every input")
    versions = {item.domain: item.version for item in model.opset_import}
    if versions.get("") != opset:
        raise ModelError(
            f"export gave operator set {versions.get('')}, not {opset}",
            where="export.opset",
            fix="set it to one that torch.onnx can give",
        )
    for item in (*model.graph.input, *model.graph.output):
        if item.type.tensor_type.shape.dim[0].dim_value:
            raise ModelError(f"the number of rows of '{item.name}' is fixed by the network", fix="keep axis 0 free")


def _reason(error: BaseException) -> str:
    """The innermost cause's first line, without the exporter's advice and colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return re.sub(r"\x1b\[[0-9;]*m", "", lines[0])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says of its own code, of torchvision, and of what `_check` says better."""
    levels = {name: logging.getLogger(name).level for name in _NOISY}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*LeafSpec.* is deprecated", category=FutureWarning)
            warnings.filterwarnings("ignore", message=rf"# The axis name: {ROWS_AXIS} will not be used")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)

"""What makes a variant of an exported model, and what it is given to make it from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flywheel.project.errors import DataError, ModelError
from flywheel.project.types import Json
from flywheel.registry.onnx_model import ROWS_ALONE

Array = np.ndarray[Any, Any]
FP32 = "fp32"
"""The name of the exported model itself, with which all variants are compared."""


@dataclass(frozen=True)
class Material:
    """What a variant may be made from.

    Attributes:
        source: The ONNX file to start with.
        inputs: The `inputs` of `meta.json`.
        train: `train.safetensors` of the processed data; calibration rows come from there and nowhere else.
        row: The number of each test row in the raw file, in the order in which variants are scored.
    """

    source: Path
    inputs: Json
    train: Path
    row: Array

    def draw(self, num_rows: int, seed: int) -> dict[str, Array]:
        """Give drawn train rows, each input [num_rows, ...]: the same ones for a seed, all where there are fewer.

        Raises:
            DataError: The file is missing or damaged.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.train, framework="numpy") as stored:
                slices = {name: stored.get_slice(name) for name in self.inputs}
                available = min(part.get_shape()[0] for part in slices.values())
                drawn = np.random.default_rng(seed).permutation(available)[:num_rows]
                rows = [int(row) for row in np.sort(drawn)]
                return {name: np.concatenate([part[row : row + 1] for row in rows]) for name, part in slices.items()}
        except FileNotFoundError:
            raise DataError(self.train, None, "missing", fix="run `dvc repro`") from None
        except (SafetensorError, ValueError) as error:
            raise DataError(self.train, None, f"damaged: {error}", fix="run `dvc checkout`") from None


class Maker(ABC):
    """Makes one kind of variant; built from a `make` node of `export.variants`."""

    @abstractmethod
    def make(self, material: Material, target: Path) -> Json:
        """Write the variant's ONNX file; equal material gives equal bytes.

        Args:
            material: Sources of the variant.
            target: File to write.

        Returns:
            What else `parity.json` is to say of it; mostly nothing.

        Raises:
            ModelError: The model does not admit this variant.
        """


def open_graph(file: Path) -> Any:
    """Read an ONNX file as `onnx.ModelProto`."""
    import onnx

    return onnx.load(file)


def write_graph(model: Any, file: Path) -> None:
    """Write an ONNX model; nothing of it that only says how it was made, so that equal models have equal bytes.

    Where activations are quantised as they come, their range is one for the whole batch, and a row's scores would
    depend on the other rows. Such a file says so, and `OnnxModel` runs each row by itself.

    Raises:
        ModelError: It is not valid ONNX.
    """
    import onnx

    for holder in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.input):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    model.graph.ClearField("value_info")  # shapes can be inferred again, and their names are long
    model.graph.name = "flywheel"
    model.producer_name, model.producer_version = "flywheel", ""
    if any(node.op_type.startswith("DynamicQuantize") for node in model.graph.node):
        model.metadata_props.add(key=ROWS_ALONE, value="true")
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"gave invalid ONNX: {error}".splitlines()[0], where=file.name) from None
    file.write_bytes(model.SerializeToString(deterministic=True))

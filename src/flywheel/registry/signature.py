"""A version's inputs and outputs for MLflow, made from the preprocessor's JSON Schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from flywheel.project.types import Json

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


def signature_of(schema: Json, answers: pd.DataFrame) -> ModelSignature:
    """Make a version's signature.

    Every input is a named column. MLflow does not check the values against it: of MLflow's column types none takes a
    picture as bytes, as nested lists and as an array alike, and an array [N, H, W] does not even reach a model with a
    column signature. The preprocessor checks every row, in training and service alike, and names the row that is
    wrong. MLflow has such signatures for models with type hints; this one is marked like theirs.

    Args:
        schema: The columns of one request.
        answers: The version's answers to an example.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema, TensorSpec

    required = schema.get("required", [])
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(_input_type(spec), name, name in required) for name, spec in schema["properties"].items()
    ]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(_output_type(column), str(name)) for name, column in answers.items()]
    signature = ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))
    signature._is_signature_from_type_hint = True
    return signature


def _input_type(spec: Json) -> Any:
    from mlflow.types import schema as types

    DataType, anything = types.DataType, cast(Any, types.AnyType)()
    plain = {"number": DataType.double, "integer": DataType.long, "boolean": DataType.boolean}
    if spec.get("type") == "string" and "contentEncoding" not in spec:
        return DataType.string
    kind = spec.get("type")
    return plain.get(kind, anything) if isinstance(kind, str) else anything


def _output_type(column: pd.Series) -> Any:
    from mlflow.types.schema import DataType

    kinds = {"f": DataType.double, "i": DataType.long, "b": DataType.boolean}
    return kinds.get(getattr(column.dtype, "kind", "O"), DataType.string)

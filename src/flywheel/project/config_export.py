"""What a task's configuration may hold of its export; a part of `flywheel.project.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from flywheel.project import kind
from flywheel.project.config_data import Node
from flywheel.project.settings import NonNegativeFloat, PositiveInt


@dataclass
class VariantConfig:
    """A smaller or faster form of the exported model.

    Attributes:
        make: What makes it.
        of: The form that it is made from: `fp32`, or a variant that is listed before it.
        max_loss: Largest loss of the report's first metric to fp32; null: that of `export.max_loss`.
        min_shrink: How many times smaller than fp32 its file must be at least; 0: any size.
        required: Whether the stage fails where the variant is refused.
    """

    make: Annotated[Node, kind.VARIANT]
    of: str = "fp32"
    max_loss: NonNegativeFloat | None = None
    min_shrink: NonNegativeFloat = 0.0
    required: bool = False


@dataclass
class ExportConfig:
    """How the model is exported to ONNX.

    Attributes:
        opset: The ONNX operator set.
        max_difference: Largest difference between a score of ONNX Runtime and PyTorch's on the test set, relative for
            scores above 1; beyond it the stage fails.
        variants: Smaller or faster forms of the model, by name.
        max_loss: Largest loss of the report's first metric that a variant may have compared with fp32, on the whole
            interval of the paired difference.
        serve: The form that is registered: `fp32`, the name of a variant, or of those that pass the `smallest` or
            `fastest`.
        student: Export folder of another task, for the variant `student`, which DVC watches; null: none.
    """

    opset: PositiveInt = 20
    max_difference: NonNegativeFloat = 1e-4
    variants: dict[str, VariantConfig] = field(default_factory=dict)
    max_loss: NonNegativeFloat = 0.005
    serve: str = "fp32"
    student: str = ""

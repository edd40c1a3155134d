"""Where what is registered lies, with the variant that is served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flywheel.registry.variant.choice import FP32, scores_file


@dataclass(frozen=True)
class Places:
    """Where the stage's inputs and outputs lie; the stage runs in the project's root.

    Attributes:
        task: Name of the task.
        variant: The form of the exported model that is registered.
    """

    task: str
    variant: str = FP32

    @property
    def artifacts(self) -> Path:
        """`artifacts/<task>/`."""
        return Path("artifacts") / self.task

    @property
    def export(self) -> Path:
        """`artifacts/<task>/export/`."""
        return self.artifacts / "export"

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.export / f"{self.variant}.onnx"

    @property
    def scores(self) -> Path:
        """Its scores on the test rows."""
        return self.export / scores_file(self.variant)

    @property
    def processed(self) -> Path:
        """`data/processed/<task>/`."""
        return Path("data/processed") / self.task

    @property
    def raw(self) -> Path:
        """`data/raw/<task>/`."""
        return Path("data/raw") / self.task

    @property
    def feedback(self) -> Path:
        """`data/feedback/<task>/`."""
        return Path("data/feedback") / self.task

"""A variant that is another task's model: a smaller network that learnt from this one, or was pruned."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from flywheel.project.errors import DataError, ModelError
from flywheel.project.types import Json
from flywheel.registry.variant.base import FP32, Maker, Material, open_graph


class Student(Maker):
    """Takes the ONNX file that another task has exported, trained on the same data.

    Whether its classes stand in the same order is not asked: a student with others loses its score on the test set, and
    is refused.

    Args:
        folder: `artifacts/<that task>/export`; the same as `export.student`, which DVC watches.
        variant: Which of the student's files to use.
    """

    def __init__(self, folder: str, variant: str = FP32) -> None:
        self.folder, self.variant = Path(folder), variant

    def make(self, material: Material, target: Path) -> Json:
        """Copy the file.

        Raises:
            DataError: The other task has no such export.
            ModelError: It takes other inputs, or was scored on other test rows.
        """
        file = self.folder / f"{self.variant}.onnx"
        try:
            model_sha256 = json.loads((self.folder / "parity.json").read_text())["model_sha256"]
            with safe_open(self.folder / "scores.safetensors", framework="numpy") as stored:
                row = stored.get_tensor("row")
            shutil.copyfile(file, target)
        except (FileNotFoundError, NotADirectoryError):
            fix = "set export.student to artifacts/<task>/export of a task that is built"
            raise DataError(file, None, "no export of a student", fix=fix) from None
        except (ValueError, KeyError, SafetensorError) as error:
            raise DataError(self.folder, None, f"damaged: {error}", fix="run `dvc repro`") from None
        wanted, got = ({item.name for item in open_graph(path).graph.input} for path in (material.source, target))
        if got != wanted:
            raise ModelError(f"takes the inputs {', '.join(sorted(got))}, not {', '.join(sorted(wanted))}", where=file)
        if not np.array_equal(row, material.row):
            raise ModelError("its task holds out other test rows", where=file, fix="give both the same data settings")
        return {"weights_sha256": model_sha256}

"""A version's code: MLflow runs this file, copied into the version, when it loads one. No pickle is involved.

It is the same predictor that `flywheel predict` uses. Raw rows go in as anything that `flywheel.registry.request`
makes a frame of; a frame with `label`, `probability` and `probability_<class>` comes out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from flywheel.registry.predictor import Predictor
from flywheel.registry.request import frame_of


class ServedModel(PythonModel):
    """A predictor behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the version's files."""
        self._predictor = Predictor.load(Path(context.artifacts["model"]), Path(context.artifacts["preprocessor"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answer raw rows; arrays, mappings and lists will do as well as frames."""
        preprocessor = self._predictor.preprocessor
        return self._predictor.predict(frame_of(model_input, preprocessor.inputs.schema(), preprocessor.aliases))


mlflow.models.set_model(ServedModel())

"""Raw rows in, answers out: a preprocessor and an exported model that belong together."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from flywheel.preprocessor.task import TaskPreprocessor, load_preprocessor
from flywheel.registry.onnx_model import Array, OnnxModel

MODEL_FILE = "model.onnx"
PREPROCESSOR_FILE = "preprocessor.json"


class Predictor:
    """What the command line, the registry's versions and the server all predict with.

    Args:
        preprocessor: The preprocessor of the task.
        model: Trained on what the preprocessor gives.
    """

    def __init__(self, preprocessor: TaskPreprocessor, model: OnnxModel) -> None:
        self.preprocessor, self.model = preprocessor, model

    @classmethod
    def load(cls, model: Path, preprocessor: Path, *, threads: int = 0) -> Predictor:
        """Open the two files.

        Raises:
            ModelError: The model is missing or damaged.
            DataError: The preprocessor is missing or damaged.
        """
        return cls(load_preprocessor(preprocessor), OnnxModel(model, threads=threads))

    def scores(self, frame: pd.DataFrame) -> Array:
        """Score raw rows, at least one.

        Raises:
            DataError: A row cannot be used.
        """
        return self.model.scores(self.preprocessor.transform(frame))

    def answers(self, frame: pd.DataFrame) -> dict[str, Array]:
        """Answer raw rows, at least one, with the columns of `predict` as arrays [N].

        Raises:
            DataError: A row cannot be used.
        """
        return self.preprocessor.answers(self.scores(frame), frame)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Answer raw rows (for classes: `label`, `probability`, `probability_<class>`), with the frame's index.

        Raises:
            DataError: A row cannot be used.
        """
        if not len(frame):
            return pd.DataFrame()
        answers = self.preprocessor.decode(self.scores(frame), frame)
        answers.index = frame.index
        return answers

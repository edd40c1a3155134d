"""A task's two preprocessors, inputs and target, as one object that is saved beside the model and served with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from flywheel.preprocessor.base import Preprocessor, rebuild
from flywheel.preprocessor.target import Target
from flywheel.project import kind
from flywheel.project.errors import ConfigError, DataError
from flywheel.project.moved import with_present_names
from flywheel.project.types import Json
from flywheel.reader.format.table_file import TableFormat

FORMAT = 1
FIX = "run the preprocess stage again"


class TaskPreprocessor:
    """Turns a task's rows into a network's arrays, and its scores into answers.

    Args:
        inputs: The inputs of the examples.
        target: The target that cleans the labels.
        table: Format of the table that the task learnt from, and its columns' names here.
    """

    def __init__(self, inputs: Preprocessor, target: Target, table: TableFormat | None = None) -> None:
        self.inputs, self.target, self.table = inputs, target, table or TableFormat()

    @property
    def aliases(self) -> dict[str, str]:
        """The inputs' names, by the names that their columns had before the reader renamed them."""
        names = self.inputs.schema()["properties"]
        return {old: new for old, new in (self.table.rename or {}).items() if new in names and old not in names}

    def read_requests(self, paths: Sequence[Path]) -> pd.DataFrame:
        """Read the files a user gives to `flywheel predict`; the file that the task learnt from is among what fits.

        Raises:
            DataError: A file is missing, or of a kind that is not read.
        """
        return self.inputs.read_requests(paths, self.table)

    def transform(self, frame: pd.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
        """Give the network's inputs by name, as stored (not scaled: that is the network's)."""
        return self.inputs.transform(frame)

    def encode(self, frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        """Give the target of each row's `label`."""
        if "label" not in frame.columns:
            raise DataError("frame", None, "has no column 'label'")
        return self.target.encode(frame["label"])

    def decode(self, scores: np.ndarray[Any, Any], requests: pd.DataFrame | None = None) -> pd.DataFrame:
        """Give the answer of each row of scores (for classes: `label`, `probability`, `probability_<class>`)."""
        return self.target.decode(scores, requests)

    def answers(
        self, scores: np.ndarray[Any, Any], requests: pd.DataFrame | None = None
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Give the columns of `decode` as arrays [N]."""
        return self.target.answers(scores, requests)

    def to_json(self) -> Json:
        """Both preprocessors' states."""
        table = {"table": stated} if (stated := self.table.stated()) else {}
        return {"format": FORMAT, "inputs": self.inputs.to_json(), "target": self.target.to_json(), **table}

    def save(self, path: Path) -> None:
        """Write `to_json` to `path`."""
        path.write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_preprocessor(path: Path) -> TaskPreprocessor:
    """Rebuild a preprocessor from the file that `TaskPreprocessor.save` wrote.

    Raises:
        DataError: The file is missing, is not JSON, of another format, or does not describe a preprocessor.
        ConfigError: It names a class that may not stand there.
    """
    try:
        state = with_present_names(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(path, None, "missing", fix="run the preprocess stage") from None
    except (ValueError, RecursionError) as error:
        raise DataError(path, None, f"is not JSON: {error}", fix="run the preprocess stage") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        given = state.get("format") if isinstance(state, dict) else None
        why = f"has format {given}, this version reads {FORMAT}"
        raise DataError(path, None, why, fix="run the preprocess stage again")
    inputs = rebuild(state.get("inputs"), kind.PREPROCESSOR, path, "inputs")
    target = rebuild(state.get("target"), kind.TARGET, path, "target")
    return TaskPreprocessor(cast(Preprocessor, inputs), cast(Target, target), _table(state, path))


def _table(state: Json, path: Path) -> TableFormat:
    try:
        table = TableFormat(**state.get("table", {}))
        table.check(path.name)
    except (TypeError, ConfigError) as error:
        raise DataError(path, None, f"its 'table' does not describe a table: {error}", fix=FIX) from None
    return table

"""What the third pass makes of a chunk, in any process, before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from flywheel.preprocessor.pipeline.profile import Ranges
from flywheel.preprocessor.pipeline.splitter import PARTS
from flywheel.preprocessor.task import TaskPreprocessor


@dataclass
class Transformed:
    """Result of the third pass for one chunk.

    Attributes:
        inputs: Stored arrays of its rows, by name.
        target: Encoded labels.
        rows: int64, the rows' numbers.
        parts: Part of each row.
        statistics: Statistics from the preprocessor, by split.
        ranges: The ranges of the inputs, by split.
    """

    inputs: dict[str, Any]
    target: Any
    rows: Any
    parts: Any
    statistics: dict[str, dict[str, Any]]
    ranges: Ranges

    @property
    def arrays(self) -> dict[str, Any]:
        """Everything that is stored."""
        return {**self.inputs, "target": self.target, "row": self.rows}


def transformed(preprocessor: TaskPreprocessor, frame: pd.DataFrame, parts: Any) -> Transformed:
    """Transform a chunk, and collect its statistics for the profile."""
    inputs = preprocessor.transform(frame)
    rows = frame.index.to_numpy(np.int64)
    made = Transformed(inputs, preprocessor.encode(frame), rows, parts, {}, Ranges())
    for name, code in PARTS.items():
        chosen = parts == code
        if chosen.any():
            own = {key: array[chosen] for key, array in inputs.items()}
            made.ranges.add(name, own)
            made.statistics[name] = preprocessor.inputs.statistics(frame[chosen], own)
    return made

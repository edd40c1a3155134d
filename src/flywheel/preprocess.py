"""The preprocess stage: `python -m flywheel.preprocess --task NAME` makes `data/processed/<task>/` of raw data."""

from __future__ import annotations

import sys
from pathlib import Path

from flywheel.project.config import TaskConfig
from flywheel.project.stage import run_stage


def preprocess(task: TaskConfig) -> None:
    """Clean, split, fit and write one task's data."""
    from flywheel.prepare import note_processed
    from flywheel.preprocessor.pipeline.run import preprocess as make

    data = Path("data")
    target = data / "processed" / task.name
    make(task, data / "raw" / task.name, data / "feedback" / task.name, target)
    note_processed(task, target)


if __name__ == "__main__":
    sys.exit(run_stage("preprocess", preprocess))

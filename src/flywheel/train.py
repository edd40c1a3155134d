"""The train stage (`--task NAME`, as DVC calls it), and the Hydra application over the same `train`.

python -m flywheel.train task=fashion model=cnn optimizer.lr=3e-3
python -m flywheel.train -m task=fashion model=mlp,cnn optimizer.lr=1e-3,3e-3
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from flywheel.learner.ranks.world import place_from
from flywheel.learner.tracked import train
from flywheel.project.config import TaskConfig
from flywheel.project.stage import explained, run_stage, set_up_process

log = logging.getLogger("flywheel")


def run(task: TaskConfig) -> None:
    """Do the stage: `data/processed/<task>` -> `artifacts/<task>/model`."""
    train(task, Path("data/processed") / task.name, Path("artifacts") / task.name / "model")


def main(arguments: list[str] | None = None) -> int:
    """Be the stage or the Hydra application, as the arguments say; or the rank that torchrun or srun has started."""
    words = sys.argv[1:] if arguments is None else arguments
    with explained(debug="--debug" in words) as outcome:
        place = place_from()
        if place and place.rank:
            from flywheel.learner.ranks.rank import main as follow

            return follow()
        if place:
            from flywheel.learner.ranks.processes import leading

            with leading(place):
                return _lead(words)
    return outcome.code or _lead(words)


def _lead(words: list[str]) -> int:
    if any(word == "--task" or word.startswith("--task=") for word in words):
        return run_stage("train", run, words)
    from flywheel.application import main as application

    set_up_process()
    with explained(debug="--debug" in words) as outcome:
        outcome.code = application(words)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())

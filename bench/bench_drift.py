"""How often the monitor says that traffic has drifted where it has not.

Windows are drawn from rows of a default task. "Undrifted" rows are of train (of tweets and movielens, as in their
references, of validation) and the reference is made of the other half; for answers both are halves of validation, which
the model was not trained on. "Test" rows are those of the test set; of spoken_digits they are of other voices on
purpose, so that what is found there is true. A window counts if any of its traits has drifted, with the settings of
`conf/monitor.yaml`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.record import Table
from flywheel.monitor import making
from flywheel.monitor.distribution import Distribution, distribution_of
from flywheel.monitor.drift import compare
from flywheel.monitor.settings import load_settings
from flywheel.monitor.trait.base import Traits, answer_traits, concatenated, row_traits
from flywheel.project.instantiate import build
from flywheel.project.kind import READER
from flywheel.project.params import load_task
from flywheel.registry.predictor import Predictor

TASKS = ("fashion", "tweets", "spoken_digits", "breast_cancer", "movielens")
NUM_WINDOWS = 400
SIZES = (100, 300, 1000)
POOL_ROWS = 6000
SEED = 0


def main() -> Table:
    """Measure each default task."""
    columns = ["task", "rows a window", "undrifted: inputs", "undrifted: answers", "test: inputs", "test: answers"]
    table = Table("drift", f"Windows said to have drifted, of {NUM_WINDOWS}", columns)
    for name in TASKS:
        rows = Rows(name)
        pools = [*rows.undrifted(), *rows.test()]
        for size in SIZES:
            table.add([name, size, *(rate(name, reference, pool, size) for reference, pool in pools)])
    return table


class Rows:
    """A default task's rows, as traits.

    Args:
        name: Of the task; `make repro` has built it.
    """

    def __init__(self, name: str) -> None:
        self.processed, self.feedback = Path("data/processed") / name, Path("data/feedback") / name
        reader = build(load_task(name).data.reader.read, READER, where="data.reader.read")
        self.splits = reader.read(Path("data/raw") / name)
        model = Path("artifacts") / name / "export/fp32.onnx"
        self.predictor = Predictor.load(model, self.processed / "preprocessor.json", threads=1)
        self.references: list[dict[str, Distribution]] = []

    def undrifted(self) -> list[tuple[dict[str, Distribution], Traits]]:
        """References of inputs and of answers, each with other rows of the same kind."""
        validation, told = self._traits("validation")
        rows = validation if "train" not in making.splits_of(self.predictor.preprocessor.inputs) else None
        parts = [halves(self._traits("train")[0] if rows is None else rows), halves(told)]
        self.references = [{key: distribution_of(values) for key, values in own.items()} for own, _ in parts]
        return [(reference, other) for reference, (_, other) in zip(self.references, parts, strict=True)]

    def test(self) -> list[tuple[dict[str, Distribution], Traits]]:
        """The same references, with test rows."""
        return list(zip(self.references, self._traits("test"), strict=True))

    def _traits(self, split: str) -> tuple[Traits, Traits]:
        numbers = making.rows_of(self.processed / f"{split}.safetensors")
        numbers = np.random.default_rng(SEED).permutation(numbers)[: 2 * making.MAX_ROWS]
        inputs, target = self.predictor.preprocessor.inputs, self.predictor.preprocessor.target
        rows, told = [], []
        for raw in making.raw_rows(split, self.splits, self.feedback, numbers):
            frame, _ = inputs.clean(raw)
            rows.append(row_traits(inputs, frame))
            told.append(answer_traits(target, self.predictor.predict(frame)))
        return concatenated(rows), concatenated(told)


def halves(traits: Traits) -> tuple[Traits, Traits]:
    """Part rows by chance."""
    order = np.random.default_rng(SEED).permutation(len(next(iter(traits.values()))))
    middle = len(order) // 2
    return tuple({key: values[part] for key, values in traits.items()} for part in (order[:middle], order[middle:]))  # type: ignore[return-value]


def rate(name: str, reference: dict[str, Distribution], pool: Traits, size: int) -> str:
    """The share of windows that are said to have drifted; windows are drawn without replacement from the pool."""
    number = len(next(iter(pool.values())))
    if number < size:
        return f"only {number} rows"
    random, settings = np.random.default_rng(SEED), load_settings(Path(), name)
    alarms = 0
    for _ in range(NUM_WINDOWS):
        rows: Any = random.choice(number, size, replace=False)
        alarms += bool(compare(reference, {key: values[rows] for key, values in pool.items()}, settings).drifted)
    return f"{100 * alarms / NUM_WINDOWS:.1f}%"

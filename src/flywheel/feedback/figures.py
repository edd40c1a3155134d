"""Counts corrections by class, client and day, and measures the accuracy so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from flywheel.feedback.store import FeedbackStore
from flywheel.feedback.tables import feedback, predictions
from flywheel.feedback.words import microseconds, moment
from flywheel.reader.format.value import name_of
from flywheel.serving.version.record import Feedback, Prediction


@dataclass
class Figures:
    """Statistics of a task's feedback.

    Attributes:
        num_predictions: Number of predictions.
        num_words: Number of corrections to them.
        classes: Corrections by label; those of numbers are under `numbers`.
        clients: Corrections by client.
        days: Corrections by day, UTC.
        versions: For each model version, the number of judged predictions and of right ones.
        errors: Absolute errors of numbers, in the order of the corrections; empty for classes.
    """

    num_predictions: int = 0
    num_words: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    clients: Counter[str] = field(default_factory=Counter)
    days: Counter[str] = field(default_factory=Counter)
    versions: dict[int, tuple[int, int]] = field(default_factory=dict)
    errors: list[float] = field(default_factory=list)

    @property
    def judged(self) -> int:
        """Number of predictions known to be right or wrong."""
        return sum(number for number, _ in self.versions.values())

    @property
    def accuracy(self) -> float | None:
        """Share of right predictions among the judged; None: none was judged.

        The judged ones are not a fair sample: people report mistakes more often.
        """
        return sum(right for _, right in self.versions.values()) / self.judged if self.judged else None


def figures_of(store: FeedbackStore, task: str) -> Figures:
    """Count a task's feedback; the last correction to a prediction judges it."""
    found = Figures(num_predictions=store.num_predictions(task))
    last: dict[str, tuple[int, bool]] = {}
    for one in store.answered(task, with_input=False):
        said, made = one.feedback, one.prediction
        found.num_words += 1
        found.clients[said.client] += 1
        found.days[said.time.date().isoformat()] += 1
        if said.label is not None:
            found.classes["numbers" if isinstance(said.label, float) else str(said.label)] += 1
        right = is_right(made, said)
        if right is not None:
            last[made.prediction_id] = (made.version, right)
        elif isinstance(said.label, float | int) and isinstance(made.answer.get("label"), float | int):
            found.errors.append(abs(float(said.label) - float(made.answer["label"])))
    for version, right in last.values():
        judged, good = found.versions.get(version, (0, 0))
        found.versions[version] = (judged + 1, good + right)
    return found


def volumes(store: FeedbackStore, task: str, since: datetime, step: timedelta) -> list[tuple[datetime, int, int]]:
    """Count a task's predictions and corrections in the time steps that have any.

    Args:
        store: The feedback store.
        task: The task of the predictions.
        since: The first moment; the first step begins there.
        step: The length of one time step.

    Returns:
        Of each step its beginning, the predictions made in it, and the words said in it.
    """
    start, width = microseconds(since), step // timedelta(microseconds=1)
    about = sa.select(predictions.c.prediction_id).where(predictions.c.task == task)
    counted: dict[int, list[int]] = {}
    with store.database.read() as connection:
        for place, (time_us, own) in enumerate((
            (predictions.c.time_us, predictions.c.task == task),
            (feedback.c.time_us, feedback.c.prediction_id.in_(about)),
        )):  # fmt: skip
            number = ((time_us - start) // width).label("step")
            query = sa.select(number, sa.func.count()).where(own, time_us >= start).group_by(number)
            for at, rows in connection.execute(query):
                counted.setdefault(int(at), [0, 0])[place] = int(rows)
    return [(moment(start + at * width), counted[at][0], counted[at][1]) for at in sorted(counted)]


def is_right(made: Prediction, said: Feedback) -> bool | None:
    """Whether a prediction was right, by one word about it; None: it does not say, or the answer is a number.

    A list of items is right if it has the one that was chosen.
    """
    if said.correct is not None:
        return said.correct
    answer: Any = made.answer.get("label")
    if said.label is None or isinstance(answer, float):
        return None
    items = made.answer.get("items")
    if isinstance(items, list):
        return name_of(said.label) in map(name_of, items)
    return None if answer is None else name_of(said.label) == name_of(answer)

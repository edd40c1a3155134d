"""A window of traffic: the rows that were answered, the answers, and what people said about them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pandas as pd

from flywheel.monitor.trait.base import Traits, answer_traits, row_traits
from flywheel.preprocessor.task import TaskPreprocessor
from flywheel.project.errors import DataError
from flywheel.registry.request import frame_of
from flywheel.serving.version.record import Feedback, Prediction

RANK = {"person": 0, "outcome": 1}
"""Rank of the sources of feedback to one prediction: an outcome counts before an opinion."""


class AnsweredRow(Protocol):
    """A prediction and one thing that was said about it."""

    @property
    def prediction(self) -> Prediction:
        """The prediction."""

    @property
    def feedback(self) -> Feedback:
        """What was said."""


class Traffic(Protocol):
    """Where a window is read from; `flywheel.feedback.store.FeedbackStore` is one."""

    def predictions(
        self, task: str, *, since: datetime | None = None, until: datetime | None = None, with_input: bool = True
    ) -> Iterator[Prediction]:
        """A task's predictions, in any order."""

    def start_of_latest(self, task: str, since: datetime | None, number: int) -> datetime | None:
        """The moment since which a task has its latest `number` predictions; None where there are fewer."""

    def answered(
        self, task: str, *, since: datetime | None = None, until: datetime | None = None, with_input: bool = True
    ) -> Iterator[AnsweredRow]:
        """What was said about a task's predictions."""


@dataclass(frozen=True)
class Window:
    """Predictions, and what is known to be right.

    Attributes:
        predictions: The predictions of one task, the oldest first: the latest ones of the time that is looked at.
        known: All predictions, at any time, whose right answer is known, the oldest first.
    """

    predictions: Sequence[Prediction]
    known: Sequence[tuple[Prediction, Feedback]]

    @classmethod
    def of(cls, predictions: Iterable[Prediction], answered: Iterable[AnsweredRow]) -> Window:
        """Put predictions in order, and choose one feedback for each: an outcome, or else the latest word."""
        chosen: dict[str, AnsweredRow] = {}
        for one in answered:
            rival = chosen.get(one.prediction.prediction_id)
            if rival is None or _weight(one.feedback) >= _weight(rival.feedback):
                chosen[one.prediction.prediction_id] = one
        known = sorted(((one.prediction, one.feedback) for one in chosen.values()), key=lambda pair: _age(pair[0]))
        return cls(sorted(predictions, key=_age), known)

    def __len__(self) -> int:
        return len(self.predictions)

    def row_traits(self, preprocessor: TaskPreprocessor) -> Traits:
        """The traits of the rows whose input was kept."""
        rows = [row.input for row in self.predictions if row.input is not None]
        return row_traits(preprocessor.inputs, frame_of_rows(rows, preprocessor)) if rows else {}

    def answer_traits(self, preprocessor: TaskPreprocessor, version: int) -> Traits:
        """The traits of one version's answers."""
        answers = pd.DataFrame([row.answer for row in self.predictions if row.version == version])
        return answer_traits(preprocessor.target, answers)


def read_window(traffic: Traffic, task: str, since: datetime | None, last: int) -> Window:
    """Read the latest predictions since a moment, and all that is known of those since then.

    Args:
        traffic: Store of the predictions.
        task: The task of the predictions.
        since: Earliest time; None: from the beginning.
        last: Maximum number of predictions.
    """
    start = traffic.start_of_latest(task, since, last) or since
    rows = heapq.nlargest(last, traffic.predictions(task, since=start), _age)
    answered = (
        one for one in traffic.answered(task, since=since, with_input=False)
        if since is None or one.prediction.time >= since
    )  # fmt: skip
    return Window.of(rows, answered)


def frame_of_rows(rows: Sequence[object], preprocessor: TaskPreprocessor) -> pd.DataFrame:
    """Make a frame of stored inputs; a column that none of them has is empty.

    Raises:
        DataError: The stored rows are not rows of this task.
    """
    schema = preprocessor.inputs.schema()
    try:
        frame = frame_of(list(rows), {**schema, "required": []})
    except (TypeError, ValueError) as error:
        raise DataError("feedback store", None, f"holds rows that do not belong to this task: {error}") from None
    absent = [name for name in schema.get("required", []) if name not in frame.columns]
    return frame.assign(**dict.fromkeys(absent)) if absent else frame


def _age(row: Prediction) -> tuple[datetime, str]:
    return row.time, row.prediction_id


def _weight(said: Feedback) -> tuple[int, datetime, str]:
    return RANK.get(said.source, 0), said.time, said.feedback_id

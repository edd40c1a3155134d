"""What a server keeps of its work: each prediction, and what people say about it. A store implements `Recorder`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from flywheel.types import Json


@dataclass(frozen=True)
class Prediction:
    """One answered row.

    Attributes:
        prediction_id: Unique; a row recorded twice under one id is kept once.
        task: The registered model's name.
        version: Of the registered model, from 1.
        model_sha256: Of its weights.
        time: When it was answered, with a time zone.
        input: The raw row as the preprocessor's `schema()` describes it, in JSON; None where only its hash is kept.
        input_sha256: Of the row's canonical JSON.
        answer: The columns that `Predictor.predict` gives for the row.
        client: Who asked, as far as the server knows; no address of a person.
        subject: Key of the person whom the row is about, so that it can be deleted; None: nobody's.
    """

    prediction_id: str
    task: str
    version: int
    model_sha256: str
    time: datetime
    input: Json | None
    input_sha256: str
    answer: Json
    client: str = ""
    subject: str | None = None


@dataclass(frozen=True)
class Feedback:
    """What somebody says about a prediction, at once or much later.

    Attributes:
        feedback_id: Unique; recorded twice, it is kept once.
        prediction_id: What it is about.
        label: The right answer, as the task's target writes it; None where only `correct` is known.
        correct: Whether the prediction was right; None where nobody said.
        time: When it was said, with a time zone.
        client: Who said it.
        source: `person` (a correction) or `outcome` (what came to pass).
    """

    feedback_id: str
    prediction_id: str
    label: str | float | None
    correct: bool | None
    time: datetime
    client: str = ""
    source: str = "person"


class Recorder(Protocol):
    """Keeps predictions and feedback; what it has returned from is on the disk."""

    def record_predictions(self, rows: Sequence[Prediction]) -> None:
        """Keep them; those whose id is known already are left as they are."""

    def record_feedback(self, rows: Sequence[Feedback]) -> list[str]:
        """Keep them.

        Returns:
            For each row `stored`, `known` (the same feedback was there already), or `unknown_prediction`, which only a
            recorder says that can write now: else its prediction may have been lost for the same reason.
        """

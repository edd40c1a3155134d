"""What a server stores: each prediction, and the feedback on it. A store implements `Recorder`."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from flywheel.project.errors import FeedbackError
from flywheel.project.types import Json

MAX_KEY = 200
"""Characters of a person's or a client's key."""


def key_of(text: str, where: str) -> str:
    """Bring a person's or a client's key to the one form that is stored and looked for: composed (NFC), stripped.

    Args:
        text: The given key.
        where: Header or option that gave it, for messages.

    Raises:
        FeedbackError: It is empty or too long, or holds what cannot be seen (and so not be typed again).
    """
    key = unicodedata.normalize("NFC", text.strip())
    if not key:
        raise FeedbackError("is empty", where=where, fix="give the key that requests are sent with")
    if len(key) > MAX_KEY:
        raise FeedbackError(f"is longer than {MAX_KEY} characters", where=where, fix="give a shorter key")
    if not key.isprintable():
        raise FeedbackError("holds characters that cannot be printed", where=where, fix="send the key as UTF-8")
    return key


def key_of_bytes(raw: bytes, where: str) -> str | None:
    """Read a key out of a header, which must be UTF-8; None where there is none.

    Raises:
        FeedbackError: It is not UTF-8, or no key.
    """
    if not raw.strip():
        return None
    try:
        return key_of(raw.decode("utf-8"), where)
    except UnicodeDecodeError:
        fix = "encode it so (in Python's requests: key.encode()); browsers and requests send Latin-1 by themselves"
        raise FeedbackError("is not UTF-8", where=where, fix=fix) from None


@dataclass(frozen=True)
class Prediction:
    """One answered row.

    Attributes:
        prediction_id: Unique; a row recorded twice under one id is kept once.
        task: The registered model's name.
        version: The version of the registered model, from 1.
        model_sha256: The sha256 of its weights.
        time: Time of the answer, with a time zone.
        input: The raw row as the preprocessor's `schema()` describes it, in JSON; None where only its hash is kept.
        input_sha256: The sha256 of the row's canonical JSON.
        answer: The columns that `Predictor.predict` gives for the row.
        client: Name of the client, if the server knows it; never a person's address.
        subject: Key of the person whom the row is about, so that it can be deleted; None: no person.
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
    """Feedback on a prediction, at once or much later.

    Attributes:
        feedback_id: Unique among its client's; recorded twice, it is kept once. Empty: none was given, and it is
            compared with the client's latest word about the prediction.
        prediction_id: Id of the prediction that it is about.
        label: The right answer, as the task's target writes it; None where only `correct` is known.
        correct: Whether the prediction was right; None where nobody said.
        time: Time of the feedback, with a time zone.
        client: Name of the client that sent it.
        source: `person` (a correction) or `outcome` (what came to pass).
    """

    feedback_id: str
    prediction_id: str
    label: str | float | None
    correct: bool | None
    time: datetime
    client: str = ""
    source: str = "person"


class Recorded(NamedTuple):
    """What became of feedback.

    Attributes:
        outcome: `stored`; `known` (the same feedback was there already), `conflict` (its client has said something else
            under this id), or `unknown_prediction`.
        feedback_id: Id under which it is kept.
    """

    outcome: str
    feedback_id: str


class Recorder(Protocol):
    """Keeps predictions and feedback; what it has returned from is on the disk.

    A worker calls both methods at once, from several threads: what one of them has not committed yet must not be
    acknowledged by the other.
    """

    def record_predictions(self, rows: Sequence[Prediction]) -> None:
        """Keep them; those whose id is known already are left as they are."""

    def record_feedback(self, rows: Sequence[Feedback]) -> list[Recorded]:
        """Keep them, in their order, and say what became of each.

        A recorder that cannot write now does not say `unknown_prediction`: the prediction may have been lost for the
        same reason.
        """

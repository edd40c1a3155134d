"""What becomes of feedback: stored, known already, at odds with what its client said under the same id, or of nothing.

An id is its client's: the same again is known, other content under it is a conflict. Feedback without an id is known
where it says what its client said last about the prediction, or what was said at the same moment: a mind changed back
is news.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from flywheel.feedback.database import Database
from flywheel.feedback.tables import feedback, predictions
from flywheel.project.digest import sha256_of_json
from flywheel.serving.version.record import Feedback, Recorded

STORED, KNOWN, CONFLICT, UNKNOWN = "stored", "known", "conflict", "unknown_prediction"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Word = dict[str, Any]


def record_words(database: Database, connection: sa.Connection, rows: Sequence[Feedback]) -> list[Recorded]:
    """Keep feedback, in its order.

    Args:
        database: The database that holds the tables.
        connection: A connection in a writing transaction.
        rows: As many as fit one statement.

    Returns:
        For each row what became of it, and its id.
    """
    database.take_turn(connection)
    told, clients = feedback.c, {row.client for row in rows}
    about = {row.prediction_id for row in rows}
    query = sa.select(predictions.c.prediction_id).where(predictions.c.prediction_id.in_(about))
    there = {str(row[0]) for row in connection.execute(query)}
    words = _Words()
    own = told.prediction_id.in_(there) | told.feedback_id.in_({row.feedback_id for row in rows})
    for old in connection.execute(sa.select(feedback).where(told.client.in_(clients), own).order_by(told.number)):
        words.add(dict(old._mapping))
    said: list[Recorded] = []
    made: list[Word] = []
    for row in rows:
        word = _word(row)
        outcome, word["feedback_id"] = (
            words.place_of(word) if row.prediction_id in there else (UNKNOWN, row.feedback_id)
        )
        if outcome == STORED:
            words.add(word)
            made.append(word)
        said.append(Recorded(outcome, word["feedback_id"]))
    if made:
        connection.execute(sa.insert(feedback), made)  # in the order in which it was said
    return said


class _Words:
    """What some clients have said so far, to compare more with."""

    def __init__(self) -> None:
        self._by_id: dict[tuple[str, str], Word] = {}
        self._about: dict[tuple[str, str], list[Word]] = {}

    def add(self, word: Word) -> None:
        """Count a row of the table in; later ones come later."""
        self._by_id[word["client"], word["feedback_id"]] = word
        self._about.setdefault((word["client"], word["prediction_id"]), []).append(word)

    def place_of(self, word: Word) -> tuple[str, str]:
        """What becomes of a word, and its id: its own, or one that is made of what it says and what it follows."""
        if word["feedback_id"]:
            known = self._by_id.get((word["client"], word["feedback_id"]))
            same = known is not None and _content(known) == _content(word)
            return STORED if known is None else KNOWN if same else CONFLICT, word["feedback_id"]
        earlier = self._about.get((word["client"], word["prediction_id"]), [])
        latest = max(reversed(earlier), key=lambda one: int(one["time_us"]), default=None)
        for one in earlier:
            if _content(one) == _content(word) and (one is latest or one["time_us"] == word["time_us"]):
                return KNOWN, str(one["feedback_id"])
        follows = None if latest is None else latest["feedback_id"]
        return STORED, sha256_of_json([*_content(word), word["client"], follows, len(earlier)])[:32]


def _content(word: Word) -> tuple[Any, ...]:
    """The content of a row of the table, whatever its time."""
    return tuple(word[name] for name in ("prediction_id", "label", "correct", "source"))


def _word(row: Feedback) -> Word:
    """A row of the table."""
    return {
        "feedback_id": row.feedback_id,
        "prediction_id": row.prediction_id,
        "label": None if row.label is None else json.dumps(row.label),
        "correct": row.correct,
        "time_us": microseconds(row.time),
        "client": row.client,
        "source": row.source,
    }


def microseconds(time: datetime) -> int:
    """Microseconds since 1970, UTC; a time without a zone is UTC."""
    return round(((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) / timedelta(microseconds=1))


def moment(number: int) -> datetime:
    """The time from microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=int(number))

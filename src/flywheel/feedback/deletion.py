"""Deletes old data, or those of one person: database rows, input files, and pulled rows.

Each deletion leaves one line in the audit, which tells how much went and nothing of whose it was: a person's key is
there, as everywhere in the store, only as a hash that this database alone can make.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from flywheel.feedback.inputs import REFERENCE
from flywheel.feedback.pulled import remove_rows
from flywheel.feedback.store import FeedbackStore
from flywheel.feedback.tables import audit, feedback, predictions
from flywheel.feedback.words import microseconds, moment
from flywheel.project.errors import FeedbackError
from flywheel.project.types import Json
from flywheel.serving.version.record import MAX_KEY

ROWS = 500
_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


@dataclass
class Deleted:
    """How much one deletion took away."""

    predictions: int = 0
    feedback: int = 0
    input_files: int = 0
    pulled_rows: int = 0


def duration_of(text: str) -> timedelta:
    """Read a length of time: `90d`, `12h` or `4w`.

    Raises:
        FeedbackError: It is none.
    """
    found = re.fullmatch(r"(\d{1,6})([hdw])", text.strip())
    if found is None:
        raise FeedbackError(f"'{text}' is not a length of time", where="--older-than", fix="give 90d, 12h or 4w")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def held_of(store: FeedbackStore, subject: str) -> tuple[int, int]:
    """Count what is stored about one person.

    Returns:
        The predictions, and how many of these an older server stored under a form that another person's key may have
        become too: cut, or with a replacement character.

    Raises:
        FeedbackError: It is not a key, or nothing is stored under it.
    """
    exact = {_hash(store, subject), *store.older_hashes(subject, damaged=False)} if len(subject) <= MAX_KEY else set()
    count = sa.select(sa.func.count()).select_from(predictions)
    with store.database.read() as connection:
        number, sure = (
            int(connection.execute(count.where(predictions.c.subject_hash.in_(keys))).scalar_one())
            for keys in (_hashes(store, subject), exact)
        )
    if not number:
        what = "nothing is stored under this key"
        raise FeedbackError(what, where=subject, fix="check how it is spelled, and --store")
    return number, number - sure


def forget(store: FeedbackStore, subject: str, folders: Mapping[str, Path]) -> Deleted:
    """Delete everything about one person, whatever form of the key an older server stored.

    Args:
        store: The feedback store.
        subject: The person's key, as the server gave it with the predictions.
        folders: `data/feedback/<task>/` of each task that may have pulled rows.

    Raises:
        FeedbackError: It is not a key, or nothing is stored under it; or the store cannot be written to: the rest can
            be deleted by the same call.
    """
    held_of(store, subject)
    with store.pulling():
        where = predictions.c.subject_hash.in_(_hashes(store, subject))
        return _delete(store, where, folders, "forget", _hash(store, subject))


def _hashes(store: FeedbackStore, subject: str) -> set[str]:
    return {_hash(store, subject), *store.older_hashes(subject)}


def _hash(store: FeedbackStore, subject: str) -> str:
    """The key's own hash; of one that is too long to be stored now, that of what an older server cut it to."""
    return store.subject_hash(subject[:MAX_KEY])


def expire(
    store: FeedbackStore, age: timedelta, folders: Mapping[str, Path], *, now: datetime | None = None
) -> Deleted:
    """Delete the predictions that are older than `age`, and the corrections to them.

    Args:
        store: The feedback store.
        age: Older predictions are deleted.
        folders: `data/feedback/<task>/` of each task that may have pulled rows.
        now: The time that the age is counted from; None: the current time.
    """
    limit = microseconds((now or datetime.now(UTC)) - age)
    with store.pulling():
        return _delete(store, predictions.c.time_us < limit, folders, "expire", None)


def audit_lines(store: FeedbackStore) -> Iterator[Json]:
    """Give every deletion: time, action, hash of the person's key, and numbers."""
    with store.database.read() as connection:
        rows = connection.execute(sa.select(audit).order_by(audit.c.number)).all()
    for row in rows:
        when = moment(row.time_us).isoformat(timespec="seconds")
        yield {"time": when, "action": row.action, "subject": row.subject_hash, **json.loads(row.told)}


def _delete(
    store: FeedbackStore, where: sa.ColumnElement[bool], folders: Mapping[str, Path], action: str, key: str | None
) -> Deleted:
    """Delete from the outside in: pulled rows and files first, so that a killed deletion still knows what is left."""
    done = Deleted()
    last = 0
    while True:
        with store.database.read() as connection:
            query = sa.select(predictions).where(where, predictions.c.number > last)
            rows = connection.execute(query.order_by(predictions.c.number).limit(ROWS)).all()
        if not rows:
            break
        last = rows[-1].number
        for task in {row.task for row in rows}:
            if task in folders:
                done.pulled_rows += remove_rows(folders[task], {row.prediction_id for row in rows if row.task == task})
        with store.database.write(deletes=True) as connection:
            _delete_rows(store, connection, rows, done)
    with store.database.write() as connection:
        told = json.dumps(asdict(done))
        line = {"time_us": microseconds(datetime.now(UTC)), "action": action, "subject_hash": key, "told": told}
        connection.execute(sa.insert(audit), [line])
    store.database.compact()
    return done


def _delete_rows(store: FeedbackStore, connection: sa.Connection, rows: Sequence[Any], done: Deleted) -> None:
    """Delete some predictions with the corrections to them, and the input files that nobody else refers to."""
    ids = [row.prediction_id for row in rows]
    done.feedback += connection.execute(sa.delete(feedback).where(feedback.c.prediction_id.in_(ids))).rowcount
    done.predictions += connection.execute(sa.delete(predictions).where(predictions.c.prediction_id.in_(ids))).rowcount
    for sha256 in {row.input_sha256 for row in rows if row.kept == REFERENCE}:
        others = sa.select(predictions.c.number).where(
            predictions.c.input_sha256 == sha256, predictions.c.kept == REFERENCE
        )
        if connection.execute(others.limit(1)).first() is None:
            done.input_files += store.inputs.remove(sha256)

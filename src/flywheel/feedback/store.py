"""The feedback store: predictions, and what people say about them, in a database that only grows.

What `record_predictions` and `record_feedback` have returned from is on the disk. Rows are known by their ids: the same
row recorded twice, after a client's second attempt or a server's restart, is kept once.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from flywheel.feedback.database import Database, default_url
from flywheel.feedback.inputs import FULL, Inputs, Kept
from flywheel.feedback.settings import project_settings
from flywheel.feedback.tables import feedback, predictions
from flywheel.feedback.vault import KEY_VARIABLE, Vault, given_key
from flywheel.feedback.words import UNKNOWN, microseconds, moment, record_words
from flywheel.project.config_feedback import FeedbackConfig
from flywheel.project.errors import FeedbackError
from flywheel.project.params import state_dir
from flywheel.project.types import Json
from flywheel.serving.version.record import MAX_KEY, Feedback, Prediction, Recorded, key_of

ROWS = 500  # in one statement
_SEAL, _SEALED_WORD = "seal", b"flywheel"


@dataclass(frozen=True)
class Answered:
    """A prediction and one correction to it."""

    prediction: Prediction
    feedback: Feedback


class FeedbackStore:
    """Implements `flywheel.serving.version.record.Recorder`; several processes may use one database at the same time.

    Args:
        url: The URL of the database; None: `FLYWHEEL_FEEDBACK_URL`, or SQLite in `.flywheel/feedback/`.
        key: Seals stored inputs (32 bytes in base64); None: `FLYWHEEL_FEEDBACK_KEY`, or they are not sealed.
        settings: Feedback settings by task; other tasks use the defaults.
        folder: The folder of input files; None: `inputs/` beside a SQLite database, or `.flywheel/feedback/inputs/`.

    Raises:
        FeedbackError: The database cannot be used, or is sealed with another key.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        settings: Mapping[str, FeedbackConfig] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.database = Database(url or default_url())
        beside = self.database.file.parent if self.database.file else state_dir() / "feedback"
        given = key or given_key()
        self.inputs = Inputs(folder or beside / "inputs", Vault(given) if given else None)
        self._settings = dict(settings or {})
        self._salt = bytes.fromhex(self.database.fact("salt") or "")
        self._check_key()

    @classmethod
    def of_project(cls, url: str | None = None) -> FeedbackStore:
        """Open the store with what each task of `params.yaml` says of keeping and masking.

        Raises:
            ConfigError: `params.yaml` is missing, or a task's `feedback:` is wrong.
            FeedbackError: The database cannot be used.
        """
        return cls(url, settings=project_settings())

    def record_predictions(self, rows: Sequence[Prediction]) -> None:
        """Keep predictions; those whose id is known already are left as they are.

        Raises:
            FeedbackError: They could not be kept; none of them is, then.
        """
        kept = [self._kept(row) for row in rows]
        made = [self._row(*pair) for pair in zip(rows, kept, strict=True)]
        with self.database.write() as connection:
            for one in kept:
                self.inputs.write(one)
            for start in range(0, len(made), ROWS):
                self.database.insert_new(connection, predictions, made[start : start + ROWS], "prediction_id")

    def record_feedback(self, rows: Sequence[Feedback]) -> list[Recorded]:
        """Keep feedback, in its order; `flywheel.feedback.words` says what is known already.

        Returns:
            For each row what became of it, and its id.

        Raises:
            FeedbackError: It could not be kept; none of it is, then.
        """
        said: list[Recorded] = []
        with self.database.write() as connection:
            for start in range(0, len(rows), ROWS):
                said += record_words(self.database, connection, rows[start : start + ROWS])
            if UNKNOWN in [
                one.outcome for one in said
            ]:  # a disk that is full reads well: then the prediction itself may not have been kept
                self.database.write_something(connection)
        return said

    def predictions(
        self, task: str, *, since: datetime | None = None, until: datetime | None = None, with_input: bool = True
    ) -> Iterator[Prediction]:
        """Give a task's predictions in the order in which they were recorded, a few in memory at a time.

        Args:
            task: The task of the predictions.
            since: The earliest time.
            until: The moment after the last.
            with_input: Whether inputs are read (and opened) too.
        """
        table = predictions.c
        where = [table.task == task, *_between(table.time_us, since, until)]
        for row in self._pages(sa.select(predictions).where(*where), table.number):
            yield self._prediction(row, with_input)

    def answered(
        self, task: str, *, since: datetime | None = None, until: datetime | None = None, with_input: bool = True
    ) -> Iterator[Answered]:
        """Give the corrections to a task's predictions, each with its prediction, in the order of their times.

        Args:
            task: The task of the predictions.
            since: The first moment at which something was said.
            until: The moment after the last.
            with_input: Whether inputs are read (and opened) too.
        """
        own = [column.label(f"f_{column.name}") for column in feedback.c]
        joined = sa.join(feedback, predictions, feedback.c.prediction_id == predictions.c.prediction_id)
        where = [predictions.c.task == task, *_between(feedback.c.time_us, since, until)]
        for row in self._pages(sa.select(predictions, *own).select_from(joined).where(*where), feedback.c.number, "f_"):
            yield Answered(self._prediction(row, with_input), _feedback(row))

    def inputs_of(self, ids: Sequence[str]) -> dict[str, Json]:
        """Give the inputs of some predictions by id; those that are not there, or kept by hash, are left out."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(predictions).where(predictions.c.prediction_id.in_(ids))).all()
        found = {row.prediction_id: self._prediction(row, True).input for row in rows}
        return {name: value for name, value in found.items() if value is not None}

    def num_predictions(self, task: str) -> int:
        """How many predictions of a task there are."""
        with self.database.read() as connection:
            query = sa.select(sa.func.count()).select_from(predictions).where(predictions.c.task == task)
            return int(connection.execute(query).scalar_one())

    def start_of_latest(self, task: str, since: datetime | None, number: int) -> datetime | None:
        """The moment since which a task has its latest `number` predictions; None where there are fewer."""
        table = predictions.c
        where = [table.task == task, *_between(table.time_us, since, None)]
        query = sa.select(table.time_us).where(*where).order_by(table.time_us.desc()).limit(1).offset(number - 1)
        with self.database.read() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else moment(int(found))

    def tasks(self) -> list[str]:
        """The tasks that have predictions."""
        with self.database.read() as connection:
            found = connection.execute(sa.select(predictions.c.task).distinct().order_by(predictions.c.task))
            return [str(row[0]) for row in found]

    def subject_hash(self, subject: str) -> str:
        """What is stored instead of a person's key: a hash that only this database can make.

        Raises:
            FeedbackError: It is not a key.
        """
        return self._hash(key_of(subject, "subject"))

    def older_hashes(self, subject: str, *, damaged: bool = True) -> set[str]:
        """What older servers stored for a key: not composed; if `damaged` also cut, or Latin-1 read as UTF-8."""
        forms = {subject, *(unicodedata.normalize(form, subject) for form in ("NFC", "NFD"))}
        if not damaged:
            return {self._hash(form) for form in forms}
        for form in list(forms):
            with contextlib.suppress(UnicodeEncodeError):  # there is no such character in Latin-1
                forms.add(form.encode("latin-1").decode("utf-8", "replace"))
        return {self._hash(form[:MAX_KEY]) for form in forms}

    def _hash(self, text: str) -> str:
        return hmac.new(self._salt, text.encode("utf-8", "surrogateescape"), "sha256").hexdigest()

    def pulling(self) -> contextlib.AbstractContextManager[Any]:
        """Lock for changing pulled rows: what one process deletes, another must not write again."""
        from filelock import FileLock

        self.inputs.folder.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.inputs.folder.parent / "pulled.lock")

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def _kept(self, row: Prediction) -> Kept:
        settings = self._settings.get(row.task) or FeedbackConfig()
        return self.inputs.keep(row.prediction_id, row.input, row.input_sha256, settings)

    def _row(self, row: Prediction, kept: Kept) -> dict[str, Any]:
        return {
            "prediction_id": row.prediction_id,
            "task": row.task,
            "version": row.version,
            "model_sha256": row.model_sha256,
            "time_us": microseconds(row.time),
            "kept": kept.kept,
            "sealed": kept.sealed,
            "input": kept.content if kept.kept == FULL else None,
            "input_sha256": kept.sha256,
            "answer": json.dumps(row.answer, sort_keys=True),
            "client": row.client,
            "subject_hash": None if row.subject is None else self.subject_hash(row.subject),
        }

    def _prediction(self, row: Any, with_input: bool) -> Prediction:
        content = None if row.input is None else bytes(row.input)
        kept = Kept(row.kept, bool(row.sealed), content, row.input_sha256)
        return Prediction(
            prediction_id=row.prediction_id,
            task=row.task,
            version=row.version,
            model_sha256=row.model_sha256,
            time=moment(row.time_us),
            input=self.inputs.give(row.prediction_id, kept) if with_input else None,
            input_sha256=row.input_sha256,
            answer=json.loads(row.answer),
            client=row.client,
            subject=row.subject_hash,
        )

    def _pages(self, query: sa.Select[Any], number: sa.Column[Any], prefix: str = "") -> Iterator[Any]:
        """Read page by page, each in a transaction of its own: a slow reader blocks no writer."""
        last = 0
        while True:
            with self.database.read() as connection:
                rows = connection.execute(query.where(number > last).order_by(number).limit(ROWS)).all()
            yield from rows
            if len(rows) < ROWS:
                return
            last = getattr(rows[-1], f"{prefix}number")

    def _check_key(self) -> None:
        """Refuse another key than the one that the database was first sealed with, and none where there is one."""
        sealed = self.database.fact(_SEAL)
        vault = self.inputs.vault
        if vault is None:
            if sealed is not None:
                raise FeedbackError("its inputs are sealed", where=self.database.where, fix=f"give {KEY_VARIABLE}")
            return
        if sealed is None:
            sealed = self.database.set_fact(_SEAL, vault.seal(_SEALED_WORD, _SEAL).hex())
        vault.open(bytes.fromhex(sealed), _SEAL)


def _between(column: sa.Column[Any], since: datetime | None, until: datetime | None) -> list[sa.ColumnElement[bool]]:
    conditions = [column >= microseconds(since)] if since is not None else []
    return conditions + ([column < microseconds(until)] if until is not None else [])


def _feedback(row: Any) -> Feedback:
    return Feedback(
        feedback_id=row.f_feedback_id,
        prediction_id=row.f_prediction_id,
        label=None if row.f_label is None else json.loads(row.f_label),
        correct=None if row.f_correct is None else bool(row.f_correct),
        time=moment(row.f_time_us),
        client=row.f_client,
        source=row.f_source,
    )

"""Keeps predictions, behind the requests' backs and within bounds, and feedback, before it is acknowledged."""

from __future__ import annotations

import base64
import hashlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import orjson

from flywheel.project.errors import FeedbackError
from flywheel.project.types import Json
from flywheel.serving.version.complaint import Complaint
from flywheel.serving.version.record import Feedback, Prediction, Recorded, Recorder
from flywheel.serving.version.served import ChampionVersion

BATCH_ROWS = 500
FLUSH_SECONDS = 5.0
FULL = "full"
UNKNOWN, CONFLICT = "unknown_prediction", "conflict"


@dataclass(frozen=True)
class AnsweredRequest:
    """Rows that were answered, as the server has them.

    Attributes:
        champion: Champion that answered.
        rows: Rows of the request.
        records: Answers to the rows.
        ids: The ids of the predictions.
        time: Time of the answer.
        client: Name of the client.
        subject: Whom the rows are about.
    """

    champion: ChampionVersion
    rows: Sequence[Json]
    records: Sequence[Json]
    ids: Sequence[str]
    time: datetime
    client: str
    subject: str | None


class RecordingQueue:
    """A recorder with a queue and a thread before it.

    Args:
        recorder: Recorder that stores predictions.
        kind: `hash`: of inputs only their sha256; `full`: inputs too.
        max_rows: Predictions that may wait.
        dropped: Told how many predictions were left out, because too many waited or the recorder failed.
    """

    def __init__(self, recorder: Recorder, kind: str, max_rows: int, dropped: Callable[[int], None]) -> None:
        self._recorder, self._kind, self._max_rows, self._dropped = recorder, kind, max_rows, dropped
        self._queue: queue.SimpleQueue[AnsweredRequest | threading.Event | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._num_waiting = 0
        self._complaint = Complaint("predictions could not be kept")
        self._thread = threading.Thread(target=self._work, name="recording", daemon=True)
        self._thread.start()

    def predictions(self, answered: AnsweredRequest) -> None:
        """Queue predictions; never waits."""
        with self._lock:
            fits = self._num_waiting + len(answered.rows) <= self._max_rows
            self._num_waiting += len(answered.rows) if fits else 0
        if fits:
            self._queue.put(answered)
        else:
            self._dropped(len(answered.rows))

    def feedback(self, rows: Sequence[Feedback]) -> list[Recorded]:
        """Keep feedback; when this returns, it is on the disk. Predictions that wait here go first.

        Raises:
            FeedbackError: Its prediction is not known, but may be among those that still wait.
            Exception: The recorder's own, where it cannot keep it.
        """
        flushed = self.flush()
        outcomes = self._recorder.record_feedback(rows)
        if UNKNOWN in [one.outcome for one in outcomes] and not flushed:
            raise FeedbackError("predictions still wait to be kept", where="store", fix="send it again later")
        return outcomes

    def flush(self) -> bool:
        """Wait until all predictions that were queued before are kept; False where that takes too long."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(FLUSH_SECONDS)

    def close(self) -> None:
        """Keep what waits, and end."""
        self._queue.put(None)
        self._thread.join(FLUSH_SECONDS)

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            batch: list[AnsweredRequest] = []
            events: list[threading.Event] = []
            while isinstance(item, AnsweredRequest | threading.Event):
                if isinstance(item, AnsweredRequest):
                    batch.append(item)
                else:
                    events.append(item)
                if events or sum(len(one.rows) for one in batch) >= BATCH_ROWS or self._queue.empty():
                    break
                item = self._queue.get()
            self._keep(batch)
            for event in events:
                event.set()
            if item is None:
                return

    def _keep(self, batch: list[AnsweredRequest]) -> None:
        if not batch:
            return
        num_rows = sum(len(answered.rows) for answered in batch)
        try:
            self._recorder.record_predictions([one for answered in batch for one in self._predictions(answered)])
        except Exception as error:  # noqa: BLE001 - a store that is down for a while must not end the thread
            self._complaint.say(error, num_rows)
            self._dropped(num_rows)
        finally:
            with self._lock:
                self._num_waiting -= num_rows

    def _predictions(self, answered: AnsweredRequest) -> list[Prediction]:
        made = []
        for row, answer, own in zip(answered.rows, answered.records, answered.ids, strict=True):
            plain = {name: _plain(value) for name, value in row.items()}
            digest = hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).hexdigest()
            champion = answered.champion
            given = plain if self._kind == FULL else None
            who = (answered.client, answered.subject)
            about = (champion.task, champion.number, champion.model_sha256, answered.time)
            made.append(Prediction(own, *about, given, digest, answer, *who))
        return made


def _plain(value: Any) -> Any:
    """A raw value as the schema writes it in JSON: files in base64, arrays as nested lists."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.tolist() if isinstance(value, np.ndarray) else value

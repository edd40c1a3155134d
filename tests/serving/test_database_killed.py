"""The feedback store's PostgreSQL server is killed under load: what was acknowledged is there afterwards, once."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.postgres import Postgres
from tests.serving.conftest import Clients, Running

from flywheel.feedback.figures import figures_of
from flywheel.feedback.store import FeedbackStore

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("serving")]

STORED, KNOWN = "stored", "known"


class Users(Clients):
    """They ask and say whether the answer was right; a word that is refused is sent again, under its id."""

    def __init__(self, url: str, image: list[list[int]], num_clients: int = 4) -> None:
        super().__init__(url, image, num_clients)
        self.acknowledged: dict[str, str] = {}  # id of the feedback -> of its prediction
        self.begun: set[str] = set()
        self.refused = [0] * num_clients
        self.answered = 0
        self.lost = 0

    def talk(self, place: int) -> None:
        number = 0
        try:
            with httpx.Client(base_url=self.url, timeout=60) as client:
                while not self.ended.is_set():
                    self._one(client, place, f"{place}-{number}")
                    number += 1
        except Exception as error:  # noqa: BLE001 - a thread's own would only be printed
            self.failures.append(repr(error))

    def _one(self, client: httpx.Client, place: int, own: str) -> None:
        answer = client.post("/v1/tasks/digits/predict", json={"image": self.image})
        assert answer.status_code == 200, answer.text  # predictions do not need the store
        self.answered += 1
        about = answer.json()["predictions"][0]["prediction_id"]
        said = {"prediction_id": about, "correct": True, "feedback_id": own}
        self.begun.add(own)
        while not self.ended.is_set():
            reply = client.post("/v1/feedback", json=said)
            if reply.status_code == 503 and "retry-after" in reply.headers:
                self.refused[place] += 1
                time.sleep(0.02)
                continue
            if reply.status_code == 404:  # its prediction could not be kept, and was counted as such
                self.lost += 1
                return
            assert reply.json()["outcome"] in (STORED, KNOWN), reply.text
            self.acknowledged[own] = about
            if own.endswith("5"):  # as after an acknowledgement that did not arrive
                assert client.post("/v1/feedback", json=said).json().get("outcome") in (KNOWN, None)
            return

    def wait_until(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + 120
        while not done():
            assert not self.failures, self.failures
            assert time.monotonic() < end, what
            time.sleep(0.02)

    def wait_for_words(self, number: int = 30) -> None:
        """Until so many more words have been acknowledged."""
        before = len(self.acknowledged)
        self.wait_until(lambda: len(self.acknowledged) >= before + number, "nothing is acknowledged")

    def wait_for_refusals(self) -> None:
        """Until each client has been refused once more, and all together have been answered."""
        refused, answered = list(self.refused), self.answered
        self.wait_until(lambda: all(a > b for a, b in zip(self.refused, refused, strict=True)), "nothing is refused")
        assert self.answered >= answered


def _unrecorded(url: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("flywheel_predictions_unrecorded_total"))


def test_acknowledged_feedback_survives_kills_of_the_database(
    serve: Callable[..., Running], home: Path, digits: Any, mortal_postgres: Postgres,
    test_images: np.ndarray[Any, Any],
) -> None:  # fmt: skip
    shutil.copy(digits.folder / "params.yaml", home)
    url = mortal_postgres.url(mortal_postgres.new_database())
    running = serve("digits", "--record", "full", "--workers", "2", FLYWHEEL_FEEDBACK_URL=url)
    workers = running.workers()
    with Users(running.url, test_images[0].tolist()) as users:
        users.wait_for_words()
        for _ in range(2):
            mortal_postgres.kill()
            during = len(users.acknowledged)
            users.wait_for_refusals()  # of words that were sent after the kill, too
            users.wait_for_refusals()
            assert len(users.acknowledged) - during <= len(users.threads)  # their answers were on their way
            assert httpx.get(f"{running.url}/readyz").status_code == 200
            mortal_postgres.start()
            users.wait_for_words()
        os.kill(mortal_postgres.backends()[0].pid, signal.SIGKILL)  # then the server ends all, and recovers by itself
        users.wait_for_words()
    assert not users.failures
    assert running.workers() == workers
    assert _unrecorded(running.url) >= users.lost
    assert running.stop() == 0
    log = running.log.read_text()
    assert "the feedback store cannot be used" in log
    assert "Traceback" not in log, "it would hold what was to be written"
    assert len(log.splitlines()) < 100, "one line a refused request"
    _check_store(FeedbackStore(url, folder=home / "inputs"), users)


def _check_store(store: FeedbackStore, users: Users) -> None:
    kept = [one.prediction_id for one in store.predictions("digits")]
    said = [(one.feedback.feedback_id, one.prediction.prediction_id) for one in store.answered("digits")]
    assert len(kept) == len(set(kept))
    assert len(said) == len({name for name, _ in said})
    assert set(users.acknowledged.items()) <= set(said)
    assert {name for name, _ in said} <= users.begun
    assert len(said) - len(users.acknowledged) <= len(users.threads)  # those that were under way at the end
    figures = figures_of(store, "digits")
    assert (figures.num_words, figures.num_predictions) == (len(said), len(kept))
    store.close()

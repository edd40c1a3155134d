from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from flywheel.project.errors import FeedbackError
from flywheel.serving.http.access import read_tokens
from flywheel.serving.version.complaint import QUIET_SECONDS, Complaint
from flywheel.serving.version.record import key_of_bytes

PREDICT, FEEDBACK = "/v1/tasks/digits/predict", "/v1/feedback"
ANY = {"prediction_id": "nobody's", "correct": True}
Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flywheel.serving.http.feedback_route.PATIENCE", (0.01,))


def test_feedback_about_a_prediction_is_kept_once(
    client_of: Callable[..., TestClient], encode: Any, test_images: Array
) -> None:
    kept = encode.Kept()
    client = client_of(recorder=kept, record="full")
    image = test_images[0].tolist()
    answer = client.post(PREDICT, json={"image": image}, headers={"x-subject": "person 7"}).json()
    row = answer["predictions"][0]
    told = {"prediction_id": row["prediction_id"], "label": "3"}
    first = client.post(FEEDBACK, json=told)
    assert first.json()["outcome"] == "stored"
    assert client.post(FEEDBACK, json=told).json() == {**first.json(), "outcome": "known"}
    assert client.post(FEEDBACK, json={**told, "label": "4"}).json()["outcome"] == "stored"
    assert client.post(FEEDBACK, json={**told, "feedback_id": "mine"}).json()["feedback_id"] == "mine"
    assert len(kept.feedback) == 3
    prediction = kept.predictions[row["prediction_id"]]
    assert prediction.input == {"image": image}
    assert (prediction.task, prediction.version, prediction.subject) == ("digits", 1, "person 7")
    assert {"prediction_id": prediction.prediction_id, **prediction.answer} == row
    assert prediction.time.tzinfo is not None


def test_a_key_given_twice_is_refused(client_of: Callable[..., TestClient], encode: Any) -> None:
    client = client_of(recorder=encode.Kept(), record="full")
    body = b'{"prediction_id": "a", "correct": true, "correct": false}'
    said = client.post(FEEDBACK, content=body, headers={"content-type": "application/json"})
    assert said.status_code == 400
    assert "the key 'correct' is there twice" in said.json()["error"]["message"]


def test_while_predictions_still_wait_to_be_kept_none_is_called_unknown(
    client_of: Callable[..., TestClient], encode: Any, test_images: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, on = encode.Kept(), threading.Event()
    record = kept.record_predictions
    monkeypatch.setattr("flywheel.serving.version.recording.FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(kept, "record_predictions", lambda rows: on.wait(60) and record(rows))
    client = client_of(recorder=kept)
    row = client.post(PREDICT, json={"image": test_images[0].tolist()}).json()["predictions"][0]
    told = {"prediction_id": row["prediction_id"], "correct": True}
    said = client.post(FEEDBACK, json=told)
    assert (said.status_code, said.headers["retry-after"]) == (503, "5")
    on.set()
    monkeypatch.setattr("flywheel.serving.version.recording.FLUSH_SECONDS", 60)
    assert client.post(FEEDBACK, json=told).json()["outcome"] == "stored"


def test_files_are_kept_as_the_schema_writes_them_and_hashed_alike(
    client_of: Callable[..., TestClient], encode: Any, test_images: Array
) -> None:
    import base64

    kept = encode.Kept()
    content = encode.png(test_images[0])
    text = base64.b64encode(content).decode()
    client = client_of(recorder=kept, record="full")
    client.post(PREDICT, files={"image": content})
    client.post(PREDICT, json={"image": text})
    client.post(PREDICT, files={"file": ("a.npy", encode.npy(test_images[0]))})
    client.post(FEEDBACK, json=ANY)  # predictions go first
    inputs = [prediction.input["image"] for prediction in kept.predictions.values()]
    assert inputs == [text, text, test_images[0].tolist()]
    assert len({prediction.input_sha256 for prediction in kept.predictions.values()}) == 2


def test_hash_keeps_no_input_and_off_keeps_nothing(
    client_of: Callable[..., TestClient], encode: Any, test_images: Array
) -> None:
    kept = encode.Kept()
    client = client_of(recorder=kept)
    client.post(PREDICT, json={"image": test_images[0].tolist()})
    client.post(FEEDBACK, json=ANY)
    assert [prediction.input for prediction in kept.predictions.values()] == [None]
    client = client_of()
    answer = client.post(FEEDBACK, json={"prediction_id": "x", "correct": True})
    assert answer.status_code == 404
    assert "no feedback is kept" in answer.text


def test_feedback_is_not_acknowledged_before_it_is_kept(
    client_of: Callable[..., TestClient], encode: Any, test_images: Array
) -> None:
    kept = encode.Kept()
    client = client_of(recorder=kept)
    row = client.post(PREDICT, json={"image": test_images[0].tolist()}).json()["predictions"][0]
    told = {"prediction_id": row["prediction_id"], "correct": False}
    assert client.post(FEEDBACK, json=told).status_code == 200
    kept.fails = True
    answer = client.post(FEEDBACK, json={**told, "feedback_id": "later"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    client.post(PREDICT, json={"image": test_images[0].tolist()})
    assert client.post(PREDICT, json={"image": test_images[0].tolist()}).status_code == 200
    assert client.post(FEEDBACK, json={**told, "feedback_id": "later"}).status_code == 503  # after the predictions
    kept.fails = False
    assert client.post(FEEDBACK, json={**told, "feedback_id": "later"}).json()["outcome"] == "stored"
    assert "flywheel_predictions_unrecorded_total 2.0" in client.get("/metrics").text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (ANY, 404),
        ({"prediction_id": "x"}, 422),
        ({"prediction_id": "", "correct": True}, 422),
        ({"prediction_id": "x", "correct": "maybe"}, 422),
        ({"prediction_id": "x", "label": "a" * 20_000}, 422),
        ({"prediction_id": "x", "label": ["a"]}, 422),
        ({"prediction_id": "x", "label": "a", "more": 1}, 422),
        ([], 422),
    ],
)
def test_bad_feedback_is_refused(client_of: Callable[..., TestClient], encode: Any, body: Any, status: int) -> None:
    answer = client_of(recorder=encode.Kept()).post(FEEDBACK, json=body)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"what", "where", "fix", "mend", "message"}


def test_who_said_it_is_the_name_of_the_token(
    client_of: Callable[..., TestClient], encode: Any, test_images: Array
) -> None:
    kept = encode.Kept()
    tokens = read_tokens(None, {"FLYWHEEL_TOKENS": "web 0123456789abcdef,app fedcba9876543210"})
    client = client_of(recorder=kept, tokens=tokens, host="example.org")
    headers = {"authorization": "Bearer fedcba9876543210"}
    row = client.post(PREDICT, json={"image": test_images[0].tolist()}, headers=headers).json()["predictions"][0]
    client.post(FEEDBACK, json={"prediction_id": row["prediction_id"], "correct": True}, headers=headers)
    assert [one.client for one in kept.feedback.values()] == ["app"]
    assert [one.client for one in kept.predictions.values()] == ["app"]


def test_a_failure_that_goes_on_is_told_once_in_a_while_and_without_what_was_to_be_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    complaint = Complaint("feedback could not be kept", lambda: now[0])
    for _ in range(1000):
        complaint.say(FeedbackError("is down", where="the store", fix="start it"))
    now[0] = QUIET_SECONDS
    complaint.say(FeedbackError("is down", where="the store", fix="start it"), 5)
    words = "the store: is down; start it"
    assert caplog.messages == [f"feedback could not be kept ({number}): {words}" for number in (1, 1004)]
    assert not any(record.exc_info for record in caplog.records)
    now[0] = 2 * QUIET_SECONDS
    complaint.say(ValueError("a bug"))
    assert caplog.records[-1].exc_info


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (b"x" * 201, "longer than 200"),
        (b"a\xc2\x80b", "cannot be printed"),
    ],
)
def test_a_person_whose_key_could_not_be_found_again_is_refused(
    client_of: Callable[..., TestClient], encode: Any, test_images: Array, key: bytes, said: str
) -> None:
    kept = encode.Kept()
    client = client_of(recorder=kept, record="full")
    answer = client.post(PREDICT, json={"image": test_images[0].tolist()}, headers={b"x-subject": key})
    assert answer.status_code == 400
    assert answer.json()["error"]["where"] == "X-Subject"
    assert said in answer.json()["error"]["what"]
    assert not kept.predictions


def test_a_key_in_latin_1_is_refused_and_not_stored_with_a_replacement() -> None:
    with pytest.raises(FeedbackError, match=r"X-Subject: is not UTF-8; encode it so"):
        key_of_bytes(b"Jos\xe9", "X-Subject")  # as requests and browsers send it; TestClient would send UTF-8
    assert key_of_bytes(b" ", "X-Subject") is None


def test_a_persons_key_is_read_as_utf8_and_composed(
    client_of: Callable[..., TestClient], encode: Any, test_images: Array
) -> None:
    kept = encode.Kept()
    client = client_of(recorder=kept, record="full")
    for key in ("Jose\u0301", "Jos\xe9"):
        body, headers = {"image": test_images[0].tolist()}, {b"x-subject": key.encode()}
        made = client.post(PREDICT, json=body, headers=headers).json()["predictions"][0]["prediction_id"]
        assert client.post(FEEDBACK, json={"prediction_id": made, "label": "3"}).status_code == 200
        assert kept.predictions[made].subject == "Jos\xe9"


def test_an_id_with_other_content_is_409_and_nothing_is_lost(
    client_of: Callable[..., TestClient], encode: Any, test_images: Array
) -> None:
    kept = encode.Kept()
    client = client_of(recorder=kept, record="full")
    made = client.post(PREDICT, json={"image": test_images[0].tolist()}).json()["predictions"][0]["prediction_id"]
    told = {"prediction_id": made, "label": "3", "feedback_id": "order-1"}
    assert client.post(FEEDBACK, json=told).json() == {"feedback_id": "order-1", "outcome": "stored"}
    said = client.post(FEEDBACK, json={**told, "label": "4"})
    assert said.status_code == 409
    assert said.json()["error"]["where"] == "feedback_id"
    assert client.post(FEEDBACK, json=told).json()["outcome"] == "known"
    assert [row.label for row in kept.feedback.values()] == ["3"]

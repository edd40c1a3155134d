"""`POST /v1/feedback`: feedback on predictions, acknowledged when it is on the disk."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request

from flywheel.serving.http import messages
from flywheel.serving.http.gateway import CLIENT
from flywheel.serving.http.metrics import Metrics
from flywheel.serving.http.routes import ROUTES
from flywheel.serving.problem import RequestError
from flywheel.serving.request.rows import parse_json
from flywheel.serving.version.complaint import Complaint
from flywheel.serving.version.record import Feedback, Recorded
from flywheel.serving.version.recording import CONFLICT, UNKNOWN, RecordingQueue

MAX_DEPTH = 8
PATIENCE = (0.05, 0.2, 0.5)
"""Seconds between looks for a prediction that another worker has answered and not kept yet."""


def add_feedback(app: FastAPI, recording: RecordingQueue | None, metrics: Metrics) -> None:
    """Add the route.

    Args:
        app: The app to add it to.
        recording: Keeps feedback; None: the route says that none is kept.
        metrics: Metrics that count it.
    """
    complaint = Complaint("feedback could not be kept")

    @ROUTES["/v1/feedback"].on(app)
    async def feedback(body: messages.FeedbackBody, request: Request) -> Any:
        if recording is None:
            what = "no feedback is kept"
            raise RequestError(404, what, where="server", fix="start it with --record hash or full")
        parse_json(await request.body(), MAX_DEPTH)  # what `body` was made of: a key given twice is refused here
        told = _feedback(body, request.scope.get(CLIENT, ""))
        outcome, identity = await _kept(recording, told, complaint)
        metrics.feedback.labels(outcome).inc()
        if outcome == UNKNOWN:
            what = f"no prediction '{told.prediction_id[:80]}' is known"
            raise RequestError(404, what, where="prediction_id", fix="send the one that the answer carried")
        if outcome == CONFLICT:
            what = f"'{identity[:80]}' names other feedback of yours"
            raise RequestError(409, what, where="feedback_id", fix="give each feedback an id of its own, or none")
        return {"feedback_id": identity, "outcome": outcome}


async def _kept(recording: RecordingQueue, told: Feedback, complaint: Complaint) -> Recorded:
    """Keep feedback, and look again where its prediction may still be on its way to the disk."""
    recorded = Recorded(UNKNOWN, told.feedback_id)
    for seconds in (*PATIENCE, 0.0):
        try:
            recorded = (await asyncio.to_thread(recording.feedback, [told]))[0]
        except Exception as error:  # noqa: BLE001 - not kept: it must not be acknowledged, but be sent again
            complaint.say(error)
            what = "feedback cannot be kept now"
            raise RequestError(
                503, what, where="server", fix="send it again later", headers={"retry-after": "5"}
            ) from None
        if recorded.outcome != UNKNOWN:
            break
        await asyncio.sleep(seconds)
    return recorded


def _feedback(body: messages.FeedbackBody, client: str) -> Feedback:
    now = datetime.now(UTC)
    return Feedback(body.feedback_id or "", body.prediction_id, body.label, body.correct, now, client, body.source)

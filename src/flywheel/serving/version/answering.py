"""Answers predictions: from an admitted request to the reply, through the version in service."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from flywheel.project.errors import FeedbackError
from flywheel.project.types import Json
from flywheel.serving.problem import RequestError
from flywheel.serving.request.infer import infer
from flywheel.serving.request.rows import parse_json
from flywheel.serving.request.upload import file_rows, form_rows
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.record import key_of_bytes
from flywheel.serving.version.recording import AnsweredRequest, RecordingQueue
from flywheel.serving.version.repository import ModelRepository
from flywheel.serving.version.served import Answers, Served

JSON_TYPE = b"application/json"
BINARY_TYPE = b"application/octet-stream"
SUBJECT = b"x-subject"


@dataclass(slots=True)
class Request:
    """One request that has been let in.

    Attributes:
        method: GET, POST, ...
        path: Parts of the path; the first is empty.
        headers: Headers by name in lower case; of several with one name the last.
        body: The unpacked body.
        client: Name of the client's token.
    """

    method: str
    path: list[str]
    headers: dict[bytes, bytes]
    body: bytes
    client: str


@dataclass(slots=True)
class Reply:
    """What is answered; task and version are for the metrics."""

    body: bytes
    status: int = 200
    media_type: bytes = JSON_TYPE
    headers: dict[str, str] | None = None
    task: str = ""
    version: str = ""


class Answering:
    """Answers predictions.

    Args:
        models: The versions in service.
        settings: The settings of the server.
        recording: Keeps predictions; None: nothing does.
    """

    def __init__(self, models: ModelRepository, settings: ServingSettings, recording: RecordingQueue | None) -> None:
        self._models, self._settings, self._recording = models, settings, recording

    async def reply(self, request: Request) -> Reply:
        """Answer `POST /v1/tasks/{task}/predict` or `POST /v2/models/{name}[/versions/{version}]/infer`.

        Raises:
            RequestError: The request is malformed, too many wait, or there was no answer in time.
            DataError: A row cannot be used.
        """
        if request.method != "POST":
            what = f"{request.method} is not answered here"
            raise RequestError(405, what, where="method", fix="use POST", headers={"allow": "POST"})
        served = self._models.get(request.path[3])
        _subject(request)  # what could not be deleted later is not answered
        try:
            async with asyncio.timeout(self._settings.request_seconds):
                body, headers = await (
                    self._predict(served, request) if request.path[1] == "v1" else self._infer(served, request)
                )
        except TimeoutError:
            what = f"no answer within {self._settings.request_seconds:g} s"
            raise RequestError(504, what, where="server", fix="send fewer rows, or send it later") from None
        champion = served.champion
        media_type = BINARY_TYPE if headers else JSON_TYPE
        return Reply(body, 200, media_type, headers, champion.task, str(champion.number))

    async def _predict(self, served: Served, request: Request) -> tuple[bytes, None]:
        rows = rows_of(served, request.headers, request.body, self._settings.max_json_depth)
        answers = await served.answer(rows)
        records = answers.records()
        ids = _ids(len(rows))
        self._record(served, request, rows, records, ids)
        champion = served.champion
        told = {
            "task": champion.task,
            "version": champion.number,
            "model_sha256": champion.model_sha256,
            "predictions": [{"prediction_id": own, **record} for own, record in zip(ids, records, strict=True)],
        }
        return orjson.dumps(told), None

    async def _infer(self, served: Served, request: Request) -> tuple[bytes, dict[str, str] | None]:
        if len(request.path) == 7 and request.path[5] != str(served.champion.number):
            what = f"version {request.path[5][:20]} is not served"
            raise RequestError(404, what, where="path", fix=f"version {served.champion.number} is")

        async def answer(rows: list[Json]) -> tuple[Answers, list[str]]:
            answers = await served.answer(rows)
            ids = _ids(len(rows))
            if self._recording is not None:
                self._record(served, request, rows, answers.records(), ids)
            return answers, ids

        return await infer(served, request.headers, request.body, self._settings, answer)

    def _record(self, served: Served, request: Request, rows: list[Json], records: list[Json], ids: list[str]) -> None:
        if self._recording is None:
            return
        now, subject = datetime.now(UTC), _subject(request)
        self._recording.predictions(AnsweredRequest(served.champion, rows, records, ids, now, request.client, subject))


def _subject(request: Request) -> str | None:
    """Whom a request is about.

    Raises:
        RequestError: The header is not UTF-8, or no key.
    """
    try:
        return key_of_bytes(request.headers.get(SUBJECT, b""), "X-Subject")
    except FeedbackError as error:
        raise RequestError(400, error.what, where=error.where, fix=error.fix) from None


def rows_of(served: Served, headers: Mapping[bytes, bytes], body: bytes, max_depth: int) -> list[Json]:
    """Read the rows of a body: JSON, a form, or one file.

    Args:
        served: The version that is asked.
        headers: The headers of the request, names in lower case.
        body: The unpacked body.
        max_depth: The largest depth of the JSON.

    Raises:
        RequestError: The body is none of these, or malformed.
        DataError: A row lacks an input, or has one that there is not.
    """
    content_type = headers.get(b"content-type", JSON_TYPE).decode("latin-1")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return served.reader.rows(parse_json(body, max_depth))
    if kind == "multipart/form-data":
        return form_rows(served.reader, content_type, body)
    if kind.startswith(("image/", "audio/")) or kind == "application/octet-stream":
        return file_rows(served.reader, body)
    what = f"content-type '{kind[:80]}' is not supported"
    raise RequestError(415, what, where="headers", fix="send JSON, a multipart form, or a picture or recording")


def _ids(number: int) -> list[str]:
    """Fresh names of predictions: 128 random bits each."""
    digits = os.urandom(16 * number).hex()
    return [digits[start : start + 32] for start in range(0, len(digits), 32)]

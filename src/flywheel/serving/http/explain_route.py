"""`POST /v1/tasks/{task}/explain`: why a row is answered as it is; and the values that people may choose from."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI, Request

from flywheel.project.types import Json
from flywheel.serving.http.routes import EXPLAIN, ROUTES
from flywheel.serving.problem import RequestError
from flywheel.serving.row import choices_of
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.answering import rows_of
from flywheel.serving.version.explain import explain
from flywheel.serving.version.repository import ModelRepository
from flywheel.serving.version.served import Served


def add_explain(app: FastAPI, models: ModelRepository, settings: ServingSettings) -> None:
    """Add the routes.

    Args:
        app: The app to add them to.
        models: The versions in service.
        settings: The settings of the server.
    """
    # An explanation is a hundred rows: one at a time, so that predictions do not wait for many, and always in the same
    # thread, because each thread's allocator keeps the memory of its largest one.
    explaining = ThreadPoolExecutor(1, thread_name_prefix="explain")

    @ROUTES[EXPLAIN].on(app)
    async def explained(task: str, request: Request) -> Any:
        served = models.get(task)
        headers = dict(request.scope["headers"])
        rows = rows_of(served, headers, await request.body(), settings.max_json_depth)
        if len(rows) != 1:
            raise RequestError(400, f"holds {len(rows)} rows", where="body", fix="explain one row at a time")
        served.limits.check_explained(served.load_of(rows[0]))
        given_up = threading.Event()
        try:
            async with asyncio.timeout(settings.request_seconds):
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(explaining, _explained, served, rows[0], given_up)
        except TimeoutError:
            what = f"no explanation within {settings.request_seconds:g} s"
            raise RequestError(504, what, where="server", fix="send it later") from None
        finally:
            given_up.set()
        champion = served.champion
        return {"task": task, "version": champion.number, "model_sha256": champion.model_sha256, **found}

    @ROUTES["/v1/tasks/{task}/choices"].on(app)
    async def choices(task: str) -> Any:
        served = models.get(task)
        inputs = await asyncio.to_thread(choices_of, served.predictor.preprocessor.inputs)
        return {"inputs": inputs, "example": served.example}


class _GivenUp(Exception):  # noqa: N818 - no error: nobody waits for the explanation any more
    """Ends the work in its thread."""


def _explained(served: Served, row: Json, given_up: threading.Event) -> Json:
    def proceed() -> None:
        if given_up.is_set():
            raise _GivenUp

    return explain(served.predictor, served.reader.frame([row]), proceed).to_json()

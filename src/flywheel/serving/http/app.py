"""The FastAPI application: all routes but those of predictions, which `gateway` answers before it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from importlib import metadata as packages
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from flywheel.project.errors import FlywheelError
from flywheel.serving.http.access import AccessControl
from flywheel.serving.http.explain_route import add_explain
from flywheel.serving.http.feedback_route import add_feedback
from flywheel.serving.http.gateway import Gateway
from flywheel.serving.http.metrics import MEDIA_TYPE, Metrics
from flywheel.serving.http.openapi import describe_api
from flywheel.serving.http.routes import ROUTES
from flywheel.serving.http.web_route import add_web
from flywheel.serving.problem import RequestError, body_of, status_of
from flywheel.serving.process.live_cache import Look
from flywheel.serving.request.infer import EXTENSIONS, metadata
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.answering import Answering
from flywheel.serving.version.recording import RecordingQueue
from flywheel.serving.version.repository import ModelRepository
from flywheel.serving.version.served import Served

TITLE = "Flywheel"


def make_gateway(
    models: ModelRepository,
    settings: ServingSettings,
    metrics: Metrics,
    *,
    tokens: Mapping[str, str] | None = None,
    recording: RecordingQueue | None = None,
    look: Look | None = None,
    closing: Callable[[], None] = lambda: None,
) -> Gateway:
    """Make the whole application of one worker.

    Args:
        models: The versions in service.
        settings: The settings of the server.
        metrics: The metrics of the worker.
        tokens: sha256 of each token by its client's name; none: no authentication.
        recording: Keeps predictions and feedback; None: nothing does.
        look: Says how a version does, for the page `/live`; None: nobody does.
        closing: Called when the worker has answered its last request.
    """
    access = AccessControl(tokens or {}, settings.rate_per_second, settings.rate_burst)
    app = make_app(models, settings, metrics, with_tokens=bool(tokens), recording=recording, look=look, closing=closing)
    gateway = Gateway(app, Answering(models, settings, recording), access, settings, metrics)
    app.state.is_ready = lambda: bool(models.tasks) and not gateway.draining
    return gateway


def make_app(
    models: ModelRepository,
    settings: ServingSettings,
    metrics: Metrics,
    *,
    with_tokens: bool,
    recording: RecordingQueue | None,
    look: Look | None,
    closing: Callable[[], None],
) -> FastAPI:
    """Make the routes that are no predictions."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        closing()

    version = packages.version("flywheel")
    app = FastAPI(
        title=TITLE,
        version=version,
        openapi_url=None,
        lifespan=lifespan,
    )
    _add_errors(app)
    _add_description(app, models, with_tokens=with_tokens)
    _add_tasks(app, models)
    _add_protocol(app, models, version)
    _add_health(app, models, metrics)
    add_feedback(app, recording, metrics)
    add_explain(app, models, settings)
    add_web(app, models, look)
    return app


def _add_errors(app: FastAPI) -> None:
    def say(request: Request, error: FlywheelError, headers: Mapping[str, str] | None = None) -> Response:
        body = body_of(error, request.url.path)
        return Response(body, status_of(error), dict(headers or {}), "application/json")

    def flywheel_error(request: Request, error: Exception) -> Response:
        known = error if isinstance(error, FlywheelError) else RequestError(500, "the server failed", where="server")
        return say(request, known, known.headers if isinstance(known, RequestError) else None)

    def no_route(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        headers = getattr(error, "headers", None)
        words = {
            404: ("there is no such page", "see /docs"),
            405: (f"{request.method} is not answered here", "see /docs"),
        }
        what, fix = words.get(status, (str(getattr(error, "detail", "refused")), "see /docs"))
        return say(request, RequestError(status, what, where="path", fix=fix), headers)

    def not_valid(request: Request, error: Exception) -> Response:
        found = error.errors()[0] if isinstance(error, RequestValidationError) and error.errors() else {}
        where = ".".join(map(str, found.get("loc", ("body",))))
        return say(request, RequestError(422, str(found.get("msg", "is not valid")), where=where, fix="see /docs"))

    def failed(request: Request, error: Exception) -> Response:
        return say(request, RequestError(500, "the server failed", where="server", fix="see its log"))

    app.add_exception_handler(FlywheelError, flywheel_error)
    app.add_exception_handler(HTTPException, no_route)
    app.add_exception_handler(RequestValidationError, not_valid)
    app.add_exception_handler(Exception, failed)


def _add_description(app: FastAPI, models: ModelRepository, *, with_tokens: bool) -> None:
    @ROUTES["/openapi.json"].on(app)
    async def openapi(request: Request, task: str = "") -> Response:
        address = f"{request.scope['scheme']}://{request.headers.get('host', 'localhost')}"
        tasks = [task] if task else []
        return JSONResponse(describe_api(app, models, with_tokens=with_tokens, address=address, tasks=tasks))


def _add_tasks(app: FastAPI, models: ModelRepository) -> None:
    @ROUTES["/v1/tasks"].on(app)
    async def tasks() -> Any:
        champions = [models.get(task).champion for task in models.tasks]
        lines = [{"task": c.task, "version": c.number, "model_sha256": c.model_sha256} for c in champions]
        return {"tasks": lines}

    @ROUTES["/v1/tasks/{task}"].on(app)
    async def task(task: str) -> Any:
        return models.get(task).describe()


def _add_protocol(app: FastAPI, models: ModelRepository, version: str) -> None:
    def of_version(task: str, number: str) -> Served:
        served = models.get(task)
        if number != str(served.champion.number):
            what = f"version {number[:20]} is not served"
            raise RequestError(404, what, where="path", fix=f"version {served.champion.number} is")
        return served

    @ROUTES["/v2"].on(app)
    async def server() -> Any:
        return {"name": "flywheel", "version": version, "extensions": EXTENSIONS}

    @ROUTES["/v2/models/{task}"].on(app)
    async def model(task: str) -> Any:
        return metadata(models.get(task))

    @ROUTES["/v2/models/{task}/versions/{version}"].on(app)
    async def model_version(task: str, version: str) -> Any:
        return metadata(of_version(task, version))

    @ROUTES["/v2/models/{task}/ready"].on(app)
    async def model_ready(task: str) -> Any:
        return {"name": models.get(task).champion.task, "ready": True}

    @ROUTES["/v2/models/{task}/versions/{version}/ready"].on(app)
    async def version_ready(task: str, version: str) -> Any:
        return {"name": of_version(task, version).champion.task, "ready": True}


def _add_health(app: FastAPI, models: ModelRepository, metrics: Metrics) -> None:
    def check_ready() -> None:
        if not app.state.is_ready():
            raise RequestError(503, "the worker is stopping", where="server", headers={"retry-after": "1"})

    @ROUTES["/healthz"].on(app)
    async def alive() -> Any:
        return {"status": "alive", "tasks": models.tasks}

    @ROUTES["/readyz"].on(app)
    async def ready() -> Any:
        check_ready()
        return {"status": "ready", "tasks": models.tasks}

    @ROUTES["/v2/health/live"].on(app)
    async def live() -> Any:
        return {"live": True}

    @ROUTES["/v2/health/ready"].on(app)
    async def protocol_ready() -> Any:
        check_ready()
        return {"ready": True}

    @ROUTES["/metrics"].on(app)
    async def prometheus() -> Response:
        models.count_queues()
        return Response(metrics.text(), media_type=MEDIA_TYPE)

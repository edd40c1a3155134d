"""The pages for people: `/` to try a task, `/live` to see how it does, `/docs` for its requests.

All that they need lies in `web/`, but for the forms: each kind of data has its own in its folder.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

from fastapi import FastAPI, Response

from flywheel.serving.http.routes import ROUTES
from flywheel.serving.problem import RequestError
from flywheel.serving.process.live_cache import LiveCache, Look
from flywheel.serving.row import forms
from flywheel.serving.version.repository import ModelRepository

FOLDER = "web"
FORMS = "field"
PAGES = {"/": "index.html", "/live": "live.html", "/docs": "docs.html"}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
HEADERS = {
    # Nothing from elsewhere, nothing inline; `blob:` is what the person has drawn, recorded or dropped.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def add_web(app: FastAPI, models: ModelRepository, look: Look | None) -> None:
    """Add the pages, and what `/live` asks for.

    Args:
        app: The app to add them to.
        models: The versions in service.
        look: Says how a version does; None: nobody does here.
    """
    files = _files()
    live_cache = None if look is None else LiveCache(look)

    def page(name: str) -> Callable[[], Any]:
        async def answer() -> Response:
            return _response(name, files[name])

        return answer

    for path, name in PAGES.items():
        ROUTES[path].on(app)(page(name))

    @ROUTES["/web/{name}"].on(app)
    async def file(name: str) -> Response:
        if name not in files:
            raise RequestError(404, "there is no such page", where="path", fix="see /docs")
        return _response(name, files[name])

    @ROUTES["/web/field/{name}"].on(app)
    async def form(name: str) -> Response:
        return await file(f"{FORMS}/{name}")

    @ROUTES["/v1/tasks/{task}/live"].on(app)
    async def live(task: str) -> Any:
        champion = models.get(task).champion
        if live_cache is None:
            raise RequestError(404, "this server does not look", where="server", fix="run `flywheel monitor`")
        found = await live_cache.of(champion)
        return {"task": task, "version": champion.number, "model_sha256": champion.model_sha256, **found}


def _files() -> dict[str, bytes]:
    folder = resources.files("flywheel.serving") / FOLDER
    pages = {file.name: file.read_bytes() for file in folder.iterdir() if _suffix(file.name) in TYPES}
    return pages | {f"{FORMS}/{name}.js": content for name, content in forms().items()}


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]


def _response(name: str, content: bytes) -> Response:
    return Response(content, headers=HEADERS, media_type=TYPES[_suffix(name)])

"""The pages for people: `/` to try a task, `/live` to see how it does.

All that they need lies in `web/`, but for the forms: each kind of data has its own in its folder.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

from fastapi import FastAPI, Response

from flywheel.serving.http import messages
from flywheel.serving.problem import RequestError
from flywheel.serving.process.looks import Look, Looks
from flywheel.serving.row import forms
from flywheel.serving.version.shelf import Shelf

FOLDER = "web"
PREFIX = "/web/"
FORMS = "field"
PAGES = {"/": "index.html", "/live": "live.html"}
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


def add_web(app: FastAPI, shelf: Shelf, look: Look | None) -> None:
    """Add the pages, and what `/live` asks for.

    Args:
        app: To add them to.
        shelf: What is served.
        look: Says how a version does; None: nobody does here.
    """
    files = _files()
    looks = None if look is None else Looks(look)

    def page(name: str) -> Callable[[], Any]:
        async def answer() -> Response:
            """Show a page for people: `/` is for trying a task, `/live` for seeing how it does in service."""
            return _response(name, files[name])

        return answer

    for path, name in PAGES.items():
        app.get(path, include_in_schema=False)(page(name))

    @app.get(PREFIX + "{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        """Give a script or a style sheet of these pages."""
        if name not in files:
            raise RequestError(404, "there is no such page", where="path", fix="see /docs")
        return _response(name, files[name])

    @app.get(f"{PREFIX}{FORMS}/{{name}}", include_in_schema=False)
    async def form(name: str) -> Response:
        """Give the script of a kind of data: how the page asks for its inputs, and draws explanations."""
        return await file(f"{FORMS}/{name}")

    @app.get("/v1/tasks/{task}/live", response_model=messages.Live, tags=["tasks"])
    async def live(task: str) -> Any:
        """Say how a task does in service: volumes, quality, drift, champions, decisions of the loop."""
        champion = shelf.get(task).champion
        if looks is None:
            raise RequestError(404, "this server does not look", where="server", fix="run `flywheel monitor`")
        found = await looks.of(champion)
        return {"task": task, "version": champion.number, "model_sha256": champion.model_sha256, **found}


def is_page(path: str) -> bool:
    """Whether a path is a page or a part of one: they tell nothing, and may ask for a token themselves."""
    return path in PAGES or path.startswith(PREFIX)


def _files() -> dict[str, bytes]:
    folder = resources.files("flywheel.serving") / FOLDER
    pages = {file.name: file.read_bytes() for file in folder.iterdir() if _suffix(file.name) in TYPES}
    return pages | {f"{FORMS}/{name}.js": content for name, content in forms().items()}


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]


def _response(name: str, content: bytes) -> Response:
    return Response(content, headers=HEADERS, media_type=TYPES[_suffix(name)])

"""Every route of the server, once: gateway, application, OpenAPI document and `docs/http.md` read this table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from fastapi import FastAPI
from pydantic import BaseModel

from flywheel.serving.http import messages as m
from flywheel.serving.problem import PROTOCOL

FAILURES: dict[int | str, str] = {
    "4XX": "The request cannot be answered",
    "5XX": "The server has too much to do, or has failed",
}
TASKS, TASK, RULES = "tasks", "/v1/tasks/{task}", "open inference protocol"
MODEL, OF_VERSION = "/v2/models/{task}", "/v2/models/{task}/versions/{version}"
PREDICT, EXPLAIN, INFER, INFER_VERSION = f"{TASK}/predict", f"{TASK}/explain", f"{MODEL}/infer", f"{OF_VERSION}/infer"

Answerer = TypeVar("Answerer", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Attributes:
        path: Pattern of the path; a part in braces matches any one part.
        about: Description of the route.
        tag: Group in the OpenAPI document; empty: the document leaves it out.
        answer: Type of the answer.
        access: Who may ask: `token`, who has one, where the server wants any; `anybody`; `always`, anybody from any
            site, also when there is too much to do. What needs no token takes no body, which could fill the memory.
        method: GET or POST; what answers GET answers HEAD as well.
        label: The name in the metrics of what the gateway answers without the application.
        of_rows: Whether it takes rows, and is described for each task.
    """

    path: str
    about: str
    tag: str = ""
    answer: type[BaseModel] | None = None
    access: Literal["token", "anybody", "always"] = "token"
    method: Literal["GET", "POST"] = "GET"
    label: str = ""
    of_rows: bool = False

    def on(self, app: FastAPI) -> Callable[[Answerer], Answerer]:
        """Have a function of the application answer it."""
        failure = m.ProtocolError if self.path.startswith(PROTOCOL) else m.ErrorBody
        return app.api_route(
            self.path, methods=[self.method], response_model=self.answer, description=self.about,
            tags=[self.tag] if self.tag else None, include_in_schema=bool(self.tag) and not self.of_rows,
            responses={code: {"model": failure, "description": text} for code, text in FAILURES.items()},
        )  # fmt: skip


_PAGE = "Show a page for people: `/` is for trying a task, `/live` for seeing how it does in service."
_TABLE = (
    Route(PREDICT, "Answer one row of {task}, or several", TASKS, method="POST", label="predict", of_rows=True),
    Route(EXPLAIN, "Explain which parts of a row of {task} its answer depends on", TASKS, m.ExplainReply,
          method="POST", of_rows=True),
    Route("/v1/tasks", "List the tasks that are served.", TASKS, m.TaskList),
    Route(TASK, "Describe a task's version in service.", TASKS, m.TaskPage),
    Route(f"{TASK}/choices", "Give values of a task's inputs that a person may choose from: categories, users, items.",
          TASKS, m.Choices),
    Route(f"{TASK}/live", "Say how a task does in service: volumes, quality, drift, champions, decisions of the loop.",
          TASKS, m.Live),
    Route("/v1/feedback", "Say what the right answer to a prediction is, or whether it was right. "
          "Sent twice, it counts once.", "feedback", m.FeedbackReply, method="POST"),
    Route(INFER, "Answer rows of {task} as tensors, JSON or binary", RULES, method="POST", label="infer", of_rows=True),
    Route(INFER_VERSION, "Answer rows of {task} as tensors, JSON or binary, by the version in service", RULES,
          method="POST", label="infer", of_rows=True),
    Route("/v2", "Describe the server.", RULES, m.ServerMetadata),
    Route(MODEL, "Describe a model's tensors.", RULES, m.ModelMetadata),
    Route(OF_VERSION, "Describe the tensors of the version in service.", RULES, m.ModelMetadata),
    Route(f"{MODEL}/ready", "Say whether a model is served.", RULES, m.ModelReady),
    Route(f"{OF_VERSION}/ready", "Say whether a version is served.", RULES, m.ModelReady),
    Route("/v2/health/live", "Say that the worker lives.", RULES, m.ServerLive, "always"),
    Route("/v2/health/ready", "Say that the worker takes requests.", RULES, m.Ready, "always"),
    Route("/healthz", "Say that the worker lives.", "health", m.State, "always"),
    Route("/readyz", "Say that the worker takes requests.", "health", m.State, "always"),
    Route("/docs", "Show a page with all routes: requests to copy, a form to send each, and the types of a task's rows "
          "and answers. It needs no other machine.", access="anybody"),
    Route("/metrics", "Give the metrics of all workers together in Prometheus' text format."),
    Route("/", _PAGE, access="anybody"),
    Route("/live", _PAGE, access="anybody"),
    Route("/web/{name}", "Give a script or a style sheet of these pages.", access="anybody"),
    Route("/web/field/{name}", "Give the script of a kind of data: how the page asks for its inputs, and draws "
          "explanations.", access="anybody"),
    Route("/openapi.json", "Describe all routes and types, as an OpenAPI document: for all tasks, or with "
          "`?task=NAME` for one."),
)  # fmt: skip
ROUTES = {route.path: route for route in _TABLE}
_PARTS: dict[int, list[tuple[list[str], Route]]] = {}
for _route in _TABLE:
    _parts = _route.path.split("/")
    _PARTS.setdefault(len(_parts), []).append((_parts, _route))


def route_of(path: Sequence[str]) -> Route | None:
    """Find the route of a request, by the parts of its path; None: there is none."""
    for parts, route in _PARTS.get(len(path), ()):
        if all(part == given or part[:1] == "{" for part, given in zip(parts, path, strict=True)):
            return route
    return None

"""`docs/http.md`: every route of `flywheel serve`, as the server's own OpenAPI document describes it.

No model is needed: a stand-in for the served versions has one task that takes a text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from docs.reference.markdown import block, code, page, summary, table

TASK, ADDRESS = "tweets", "http://127.0.0.1:8080"
ABOUT = f"""`flywheel serve` answers these routes; [serving.md](serving.md) explains them. The requests are written
for a server on this machine that serves the task `{TASK}`: each task has rows of its own, and `/docs` of a running
server shows those of the tasks that it serves. `/openapi.json` is the document from which this page is made.

Every route that answers GET answers HEAD too. A server that is started with `--tokens` wants the header
`Authorization: Bearer TOKEN`, unless a route says that it needs none. Answers are JSON unless another type is
named."""


def routes_page(root: Path) -> str:
    """The page.

    Args:
        root: The project.
    """
    from flywheel.serving.http.samples import samples_of

    api, others = described()
    groups: dict[str, list[str]] = {}
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            tag = next(iter(operation["tags"]))
            groups.setdefault("tasks" if tag == TASK else tag, []).extend(_operation(path, method, operation))
    parts = [ABOUT]
    for group, texts in groups.items():
        parts += [f"## {group.capitalize()}", *texts]
    parts.append("## Pages and metrics")
    for path, about in others:
        parts += [f"### {code(f'GET {path}')}", f"{about} {_token(path)}".strip()]
        parts += [_samples(samples_of("get", ADDRESS + path, shown="text"))] if "{" not in path else []
    return page("HTTP routes", "the server's OpenAPI document", [*parts, "## Errors", *_errors(api, root)])


def _errors(api: dict[str, Any], root: Path) -> tuple[str, str]:
    keys = ", ".join(f'"{key}": ...' for key in api["components"]["schemas"]["Problem"]["properties"])
    about = (
        f'The body of an answer that is no success is `{{"error": {{{keys}}}}}`, and under `/v2` it is\n'
        '`{"error": "..."}`, with the same line as `message`. What each status says (`...` stands for a value):'
    )
    rows = ((str(status), "; ".join(sorted(said))) for status, said in refusals(root))
    return about, table(("status", "what it says"), rows)


def described() -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The OpenAPI document of a server, and the routes that it leaves out, with what they do."""
    from flywheel.serving.http.app import make_app
    from flywheel.serving.http.metrics import Metrics
    from flywheel.serving.http.openapi import describe_api
    from flywheel.serving.http.routes import ROUTES
    from flywheel.serving.settings import ServingSettings

    models: Any = _Models()
    app = make_app(
        models, ServingSettings(), Metrics(), with_tokens=False, recording=None, look=None, closing=lambda: None
    )  # fmt: skip
    api = describe_api(app, models, with_tokens=False, address=ADDRESS)
    return api, [(route.path, route.about) for route in ROUTES.values() if not route.tag]


class _Models:
    """Stands for the versions in service: one of a task that takes a text."""

    tasks = (TASK,)

    def get(self, task: str) -> Any:
        from flywheel.serving.request.rows import RowReader

        schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
        return SimpleNamespace(
            champion=SimpleNamespace(task=task, number=1), schema=schema, reader=RowReader(schema, 1),
            example={"text": "what a lovely day"}, answer_example={"label": "positive", "probability": 0.91},
        )  # fmt: skip


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    shown = path.replace(f"/{TASK}", "/{task}").replace("/versions/1", "/versions/{version}")
    yield f"### {code(f'{method.upper()} {shown}')}"
    about = summary(operation.get("description") or operation["summary"]).replace(TASK, "a task")
    yield f"{about.rstrip('.')}. {_token(path)}".strip()
    rows = [(code(one["name"]), one["in"], one.get("description", "")) for one in operation.get("parameters", ())
            if one["in"] != "path"]  # fmt: skip
    if rows:
        yield table(("parameter", "in", "meaning"), rows)
    yield _statuses(operation)
    yield _samples(operation["x-codeSamples"])


def _token(path: str) -> str:
    from flywheel.serving.http.routes import route_of

    route = route_of(path.split("/"))
    return "Needs no token." if route and route.access != "token" else ""


def _statuses(operation: dict[str, Any]) -> str:
    lines = []
    for status, answer in operation["responses"].items():
        kinds = " or ".join(code(kind) for kind in answer.get("content", {}))
        also = f" ({kinds})" if kinds not in ("", "`application/json`") else ""
        lines.append(f"- {status}: {answer['description'].capitalize()}{also}")
    return "\n".join(lines)


def _samples(samples: list[dict[str, str]]) -> str:
    """The requests to copy, as the server shows them."""
    curl, python = (one["source"] for one in samples)
    return f"{block('sh', curl, not_run='a server must be running')}\n\n{block('python', python)}"


def refusals(root: Path) -> list[tuple[int, set[str]]]:
    """What the code of the server says with each status, from every `RequestError` in it."""
    found: dict[int, set[str]] = {}
    for file in sorted((root / "src/flywheel/serving").rglob("*.py")):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for status, said in _refused(function):
                    found.setdefault(status, set()).add(said)
    return sorted(found.items())


def _refused(function: ast.AST) -> Iterator[tuple[int, str]]:
    assigned: list[tuple[int, ast.expr]] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "what":
            assigned.append((node.lineno, node.value))
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "RequestError":
            status, what = node.args[:2]
            if isinstance(what, ast.Name):
                before = [value for line, value in assigned if line <= node.lineno]
                what = before[-1] if before else what
            if isinstance(status, ast.Constant) and (said := _text(what)):
                yield int(str(status.value)), said


def _text(node: ast.expr) -> str:
    """A text of the code, with `...` for what is filled in; empty where it is not written there."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "..." for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else ""

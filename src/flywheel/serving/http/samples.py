"""Requests to copy for each route, by curl and in Python, as the OpenAPI document and `docs/http.md` show them."""

from __future__ import annotations

import json
import shlex
from typing import Any

from flywheel.project.types import Json

SAMPLES = "x-codeSamples"
FILE, BASE64 = "FILE", "BASE64"
"""What a sample calls a file that the reader is to name, and the content of one in JSON."""
WIDTH = 100


def add_samples(api: Json) -> None:
    """Add samples to every operation of an OpenAPI document, for its first server and the examples that it holds."""
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            values = {one["name"]: one["example"] for one in operation.get("parameters", ()) if one["in"] == "path"}
            url = api["servers"][0]["url"] + path.format(**values)
            content = operation.get("requestBody", {}).get("content", {})
            body = content.get("application/json", {}).get("example")
            form = None if body is not None else content.get("multipart/form-data", {}).get("example")
            body = {} if content and body is None and form is None else body
            has_token = bool(operation.get("security", api.get("security")))
            operation[SAMPLES] = samples_of(method, url, body=body, form=form, has_token=has_token)


def samples_of(
    method: str, url: str, *, body: Json | None = None, form: Json | None = None, has_token: bool = False,
    shown: str = "json()",
) -> list[Json]:  # fmt: skip
    """Give the samples of one request.

    Args:
        method: GET or POST, in any case.
        url: Whole.
        body: The JSON to send.
        form: The parts of a form to send instead; those that are `FILE` are files.
        has_token: Whether the request needs a token.
        shown: What Python prints of the answer.
    """
    curl, call = [f"curl -s {shlex.quote(url)}"], [json.dumps(url)]
    if has_token:
        curl.append("-H 'Authorization: Bearer TOKEN'")
        call.append('headers={"Authorization": "Bearer TOKEN"}')
    if body is not None:
        curl.append(f"-H 'content-type: application/json' -d {shlex.quote(_text(body))}")
        call.append(f"json={_text(body, python=True)}")
    if form is not None:
        parts = {name: f"@{FILE}" if value == FILE else value for name, value in form.items()}
        curl += [f"-F {shlex.quote(f'{name}={value}')}" for name, value in parts.items()]
        files = ", ".join(f'{json.dumps(name)}: Path("{FILE}").read_bytes()' for name in form if form[name] == FILE)
        call.append(f"files={{{files}}}")
        if values := {name: value for name, value in form.items() if value != FILE}:
            call.append(f"data={_text(values, python=True)}")
    given = call[0] if len(call) == 1 else "\n" + "".join(f"    {_indented(one)},\n" for one in call)
    imports = "from pathlib import Path\n\nimport requests" if form is not None else "import requests"
    python = f"{imports}\n\nanswer = requests.{method.lower()}({given})\nprint(answer.{shown})"
    return [
        {"lang": "Shell", "label": "curl", "source": " \\\n  ".join(curl)},
        {"lang": "Python", "label": "Python", "source": python},
    ]


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")


def _text(value: Any, *, python: bool = False) -> str:
    """A value as JSON or as Python, on one line where it fits, else an item a line."""
    if isinstance(value, dict):
        items = [f"{json.dumps(key, ensure_ascii=False)}: {_text(one, python=python)}" for key, one in value.items()]
        return _joined("{", items, "}")
    if isinstance(value, list):
        return _joined("[", [_text(one, python=python) for one in value], "]")
    return repr(value) if python and not isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _joined(start: str, items: list[str], end: str) -> str:
    line = f"{start}{', '.join(items)}{end}"
    if len(line) <= WIDTH and "\n" not in line:
        return line
    lines = ",\n".join(f"  {item}".replace("\n", "\n  ") for item in items)
    return f"{start}\n{lines}\n{end}"

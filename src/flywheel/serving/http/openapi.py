"""The OpenAPI description: FastAPI's of its routes, and each task's predictions by its preprocessor's schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from flywheel.project.types import Json
from flywheel.serving.http import messages
from flywheel.serving.http.routes import EXPLAIN, FAILURES, INFER, INFER_VERSION, PREDICT, ROUTES, TASKS, route_of
from flywheel.serving.http.samples import BASE64, FILE, add_samples
from flywheel.serving.request.infer import input_of
from flywheel.serving.request.rows import INSTANCES
from flywheel.serving.request.tensors import BYTES
from flywheel.serving.version.repository import ModelRepository
from flywheel.serving.version.served import Served

ERROR, PROTOCOL_ERROR = "ErrorBody", "ProtocolError"
VALIDATION = ("HTTPValidationError", "ValidationError")
MAX_EXAMPLE = 2000
TENSOR: Json = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array"},
    },
    "required": ["name"],
}


def describe_api(
    app: FastAPI, models: ModelRepository, *, with_tokens: bool, address: str, tasks: Sequence[str] = ()
) -> Json:
    """Describe the server as it is now: after a swap, a task is described by its new version.

    Args:
        app: The application.
        models: The versions in service.
        with_tokens: Whether the server wants tokens.
        address: Of the server, as whoever asks reaches it.
        tasks: Those to describe; none: all that are served.

    Raises:
        RequestError: A task is not served (404).
    """
    api: Json = get_openapi(title=app.title, version=app.version, routes=app.routes, servers=[{"url": address}])
    schemas: Json = api.setdefault("components", {}).setdefault("schemas", {})
    for name in VALIDATION:  # such errors are answered like all others
        schemas.pop(name, None)
    for path in api["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    schemas["Tensor"] = TENSOR
    schemas["InferRequest"] = _mapping({"id": {"type": "string"}, "parameters": {"type": "object"},
                                        "inputs": _list("Tensor"), "outputs": _list("Tensor")}, ["inputs"])  # fmt: skip
    schemas["InferResponse"] = _mapping(
        {"model_name": {"type": "string"}, "model_version": {"type": "string"}, "id": {"type": "string"},
         "parameters": {"type": "object"}, "outputs": _list("Tensor")},
        ["model_name", "model_version", "outputs"],
    )  # fmt: skip
    explained = messages.ExplainReply.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**explained.pop("$defs"), "ExplainReply": explained}
    all_served = [models.get(task) for task in tasks or models.tasks]
    for served in all_served:
        task = served.champion.task
        schemas |= {f"{task}.{name}": schema for name, schema in _schemas(served).items()}
        for path, describe in OF_ROWS.items():
            route, shown = ROUTES[path], path.format(task=task, version=served.champion.number)
            operation = {"tags": [task if route.tag == TASKS else route.tag], "summary": route.about.format(task=task)}
            api["paths"][shown] = {route.method.lower(): operation | describe(served)}
    if with_tokens:
        api["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        api["security"] = [{"token": []}]
    first = all_served[0].champion if all_served else None
    _add_examples(api, {"task": first.task if first else "TASK", "version": str(first.number) if first else "VERSION"})
    add_samples(api)
    return api


def _add_examples(api: Json, of_path: dict[str, str]) -> None:
    """Put the paths in the order of the routes, and say what to send to each, and whether it needs no token."""
    order = list(ROUTES.values())
    known = {path: route for path in api["paths"] if (route := route_of(path.split("/")))}
    api["paths"] = {path: api["paths"][path] for path in sorted(known, key=lambda path: order.index(known[path]))}
    for path, operations in api["paths"].items():
        for operation in operations.values():
            if known[path].access != "token":
                operation["security"] = []
            for one in operation.get("parameters", ()):
                if one["in"] == "path":
                    one["example"] = of_path[one["name"]]
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            named = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            for example in api["components"]["schemas"].get(named, {}).get("examples", ()):
                content.setdefault("example", example)


def _schemas(served: Served) -> Json:
    """Of a task: one row, what may be sent, one answer, and what comes back."""
    task = served.champion.task
    row = {key: value for key, value in served.schema.items() if key != "$schema"} | {"additionalProperties": False}
    several = _mapping({INSTANCES: _list(f"{task}.Row") | {"minItems": 1}}, [INSTANCES])
    if (example := _example(served)) is not None:
        row["examples"] = [example]
    answer = {
        "prediction_id": {"type": "string"},
        **{name: _answer(value) for name, value in served.answer_example.items()},
    }
    return {
        "Row": row,
        "Request": {"anyOf": [_ref(f"{task}.Row"), several]},
        "Prediction": _mapping(answer, list(answer)),
        "Response": _mapping(
            {"task": {"const": task}, "version": {"type": "integer"}, "model_sha256": {"type": "string"},
             "predictions": _list(f"{task}.Prediction")},
            ["task", "version", "model_sha256", "predictions"],
        ),
    }  # fmt: skip


def _predict(served: Served) -> Json:
    task = served.champion.task
    return {
        "operationId": f"predict_{task}",
        "parameters": [{"name": "X-Subject", "in": "header", "required": False, "schema": {"type": "string"},
                        "description": "key of the person whom the rows are about, so that they can be deleted: UTF-8, "
                        "at most 200 characters"}],
        "requestBody": _body(served, "Request"),
        "responses": _responses(_ref(f"{task}.Response")),
    }  # fmt: skip


def _explain(served: Served) -> Json:
    task = served.champion.task
    return {
        "operationId": f"explain_{task}",
        "requestBody": _body(served, "Row"),
        "responses": _responses(_ref("ExplainReply")),
    }


def _body(served: Served, of_json: str) -> Json:
    """What rows may be sent as; `of_json`: which of the task's schemas their JSON has."""
    task = served.champion.task
    of_row: Json = {"schema": _ref(f"{task}.{of_json}")}
    if (example := _example(served)) is not None:
        of_row["example"] = example
    content: Json = {"application/json": of_row}
    if served.reader.media:
        binary = {"type": "string", "contentMediaType": "application/octet-stream"}
        fields = {name: binary if name in served.reader.media else {"type": "string"} for name in served.reader.names}
        parts = {name: FILE if name in served.reader.media else value for name, value in (served.example or {}).items()}
        content["multipart/form-data"] = {"schema": _mapping(fields, list(served.reader.required)), "example": parts}
    if len(served.reader.media) == 1 and len(served.reader.names) == 1:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    return {"required": True, "content": content}


def _infer(served: Served, *, of_version: bool = False) -> Json:
    task = served.champion.task
    content: Json = {"schema": _ref("InferRequest")}
    if inputs := _tensors(served):
        content["example"] = {"inputs": inputs}
    return {
        "operationId": f"infer_{task}{'_version' if of_version else ''}",
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": _responses(_ref("InferResponse"), binary=True, error=PROTOCOL_ERROR),
    }


def _tensors(served: Served) -> list[Json]:
    """The version's example row as tensors; empty where it has none, or one that lacks a value."""
    held, media = served.example or {}, served.reader.media
    row = _example(served) or {name: BASE64 if name in media else value for name, value in held.items()}
    if any(value is None for value in row.values()):
        return []
    tensors = []
    for name, value in row.items():
        datatype = BYTES if isinstance(value, str) else input_of(served.schema["properties"][name])["datatype"]
        shape = [1, *np.shape(value)]
        tensors.append({"name": name, "datatype": datatype, "shape": shape, "data": [value]})
    return tensors


def _example(served: Served) -> Json | None:
    """The row that the version brings; None where it brings none that a person would read."""
    return None if served.example is None or len(str(served.example)) > MAX_EXAMPLE else served.example


def _responses(schema: Json, *, binary: bool = False, error: str = ERROR) -> Json:
    content: Json = {"application/json": {"schema": schema}}
    if binary:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    failure = {"application/json": {"schema": _ref(error)}}
    return {
        "200": {"description": "The answers", "content": content},
        **{str(code): {"description": description, "content": failure} for code, description in FAILURES.items()},
    }


def _answer(value: Any) -> Json:
    """What an answer's value can be, by an example of it."""
    if isinstance(value, list):
        return {"type": "array"}
    kind = "integer" if isinstance(value, int) else "number" if isinstance(value, float) else "string"
    return {"type": [kind, "null"]}


OF_ROWS: dict[str, Callable[[Served], Json]] = {
    PREDICT: _predict, EXPLAIN: _explain, INFER: _infer, INFER_VERSION: partial(_infer, of_version=True)
}  # fmt: skip
"""Describes each route that takes rows, for one task."""


def _mapping(properties: Json, required: list[str]) -> Json:
    return {"type": "object", "properties": properties, "required": required}


def _list(name: str) -> Json:
    return {"type": "array", "items": _ref(name)}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}

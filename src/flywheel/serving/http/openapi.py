"""The OpenAPI description: FastAPI's of its routes, and each task's predictions by its preprocessor's schema."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from flywheel.project.types import Json
from flywheel.serving.http import messages
from flywheel.serving.http.routes import EXPLAIN, FAILURES, INFER, INFER_VERSION, PREDICT, ROUTES, TASKS
from flywheel.serving.request.infer import input_of
from flywheel.serving.request.rows import INSTANCES
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


def describe_api(app: FastAPI, models: ModelRepository, *, with_tokens: bool) -> Json:
    """Describe the server as it is now: after a swap, a task's page is that of its new version."""
    api: Json = get_openapi(title=app.title, version=app.version, routes=app.routes, description=app.description)
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
    for task in models.tasks:
        served = models.get(task)
        schemas |= {f"{task}.{name}": schema for name, schema in _schemas(served).items()}
        for path, describe in OF_ROWS.items():
            route, shown = ROUTES[path], path.format(task=task, version=served.champion.number)
            operation = {"tags": [task if route.tag == TASKS else route.tag], "summary": route.about.format(task=task)}
            api["paths"][shown] = {route.method.lower(): operation | describe(served)}
    if with_tokens:
        api["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        api["security"] = [{"token": []}]
    return api


def _schemas(served: Served) -> Json:
    """Of a task: one row, what may be sent, one answer, and what comes back."""
    task = served.champion.task
    row = {key: value for key, value in served.schema.items() if key != "$schema"} | {"additionalProperties": False}
    several = _mapping({INSTANCES: _list(f"{task}.Row") | {"minItems": 1}}, [INSTANCES])
    example = served.example
    if example is not None and len(str(example)) <= MAX_EXAMPLE:
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
    content: Json = {"application/json": {"schema": _ref(f"{task}.{of_json}")}}
    if served.reader.media:
        binary = {"type": "string", "contentMediaType": "application/octet-stream"}
        fields = {name: binary if name in served.reader.media else {"type": "string"} for name in served.reader.names}
        content["multipart/form-data"] = {"schema": _mapping(fields, list(served.reader.required))}
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
    """The version's example row as tensors; empty where a value of it is no single text or number."""
    row = served.example or {}
    if not all(isinstance(value, str | int | float) for value in row.values()):
        return []
    return [
        {"name": name, **input_of(served.schema["properties"][name]), "shape": [1], "data": [value]}
        for name, value in row.items()
    ]


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

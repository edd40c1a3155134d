"""The Open Inference Protocol, version 2: what a model takes and gives as tensors, and one inference."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
import orjson

from flywheel.project.errors import nearest
from flywheel.project.types import Json
from flywheel.serving.problem import RequestError
from flywheel.serving.request.rows import parse_json
from flywheel.serving.request.tensors import BYTES, tensor_of, values_of
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.served import Answers, Served

LENGTH = b"inference-header-content-length"
EXTENSIONS = ["binary_tensor_data"]
ID = "prediction_id"
MAX_ID = 200
PLATFORM = "onnx_onnxruntime"

Answer = Callable[[list[Json]], Awaitable[tuple[Answers, list[str]]]]


def metadata(served: Served) -> Json:
    """What `GET /v2/models/{name}` says."""
    champion = served.champion
    outputs = [{"name": ID, "datatype": BYTES, "shape": [-1]}]
    outputs += [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in served.outputs.items()]
    return {
        "name": champion.task,
        "versions": [str(champion.number)],
        "platform": PLATFORM,
        "inputs": [{"name": name, **input_of(spec)} for name, spec in served.schema["properties"].items()],
        "outputs": outputs,
        "parameters": {"model_sha256": champion.model_sha256},
    }


async def infer(
    served: Served, headers: Mapping[bytes, bytes], body: bytes, settings: ServingSettings, answer: Answer
) -> tuple[bytes, dict[str, str] | None]:
    """Answer one inference request.

    Args:
        served: The version that is asked.
        headers: The headers of the request, names in lower case.
        body: JSON, and after it, where a header says how long the JSON is, binary tensors.
        settings: The settings of the server.
        answer: Answers rows, and names the predictions.

    Returns:
        The body, and where it has binary tensors the header that says how long its JSON is.

    Raises:
        RequestError: The request is malformed.
        DataError: A row cannot be used.
    """
    request, binary = _parted(headers, body, settings.max_json_depth)
    identity = request.get("id", "")
    if not isinstance(identity, str) or len(identity) > MAX_ID:
        raise RequestError(400, f"id is not text of up to {MAX_ID} characters", where="body", fix="fix it")
    rows = _rows(served, request, binary)
    wanted = _wanted(request)
    answers, ids = await answer(rows)
    columns = {ID: np.array(ids, dtype=object), **answers.columns}
    outputs, contents = _outputs(columns, wanted, _parameter(request, "binary_data_output"))
    champion = served.champion
    told: Json = {
        "model_name": champion.task,
        "model_version": str(champion.number),
        **({"id": identity} if identity else {}),
        "parameters": {"model_sha256": champion.model_sha256},
        "outputs": outputs,
    }
    head = orjson.dumps(told)
    if not any("data" not in output for output in outputs):
        return head, None
    return b"".join([head, *contents]), {LENGTH.decode(): str(len(head))}


def _parted(headers: Mapping[bytes, bytes], body: bytes, max_depth: int) -> tuple[Json, bytes]:
    """Part the JSON of a request from its binary tensors."""
    length = headers.get(LENGTH, b"")
    if length and (not length.isdigit() or len(length) > 12 or int(length) > len(body)):
        what = f"'{length.decode('latin-1')[:20]}' is not the length of the JSON"
        raise RequestError(400, what, where=LENGTH.decode(), fix="give its number of bytes")
    end = int(length) if length else len(body)
    request = parse_json(body[:end], max_depth)
    if not isinstance(request, dict):
        raise RequestError(400, "is not a mapping", where="body", fix="give `inputs`")
    return request, body[end:]


def _rows(served: Served, request: Json, binary: bytes) -> list[Json]:
    reader = served.reader
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or not inputs or not all(isinstance(tensor, dict) for tensor in inputs):
        raise RequestError(400, "has no list of tensors", where="inputs", fix=f"give {', '.join(reader.names)}")
    columns: dict[str, list[Any]] = {}
    place = 0
    for tensor in inputs:
        name = tensor.get("name")
        name = reader.aliases.get(name, name) if isinstance(name, str) else name
        if not isinstance(name, str) or name not in reader.names or name in columns:
            what = f"'{str(name)[:80]}' is not an input, or comes twice"
            raise RequestError(400, what, where="inputs", fix=nearest(str(name)[:80], reader.names))
        size = _parameter(tensor, "binary_data_size")
        content = None
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(binary) - place:
                raise RequestError(400, "binary_data_size is not what is there", where=name, fix="fix it")
            content, place = binary[place : place + size], place + size
        columns[name] = _row_values(values_of(tensor, content, name), is_media=name in reader.media, where=name)
    if place != len(binary):
        raise RequestError(400, f"{len(binary) - place} bytes belong to no tensor", where="body", fix="leave them out")
    counts = {name: len(values) for name, values in columns.items()}
    if len(set(counts.values())) > 1:
        raise RequestError(400, f"inputs hold different numbers of rows: {counts}", where="inputs", fix="fix them")
    return reader.of_columns(columns)


def _row_values(values: list[Any], *, is_media: bool, where: str) -> list[Any]:
    """Files stay bytes, and their pixels arrays; of other inputs bytes are UTF-8, and arrays lists."""
    if is_media:
        return values
    return [_plain(value, where) for value in values]


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, list):
        return [_plain(item, where) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise RequestError(400, "holds bytes that are not UTF-8", where=where, fix="send text in UTF-8") from None
    return value.tolist() if isinstance(value, np.ndarray) else value


def _wanted(request: Json) -> list[Json] | None:
    outputs = request.get("outputs")
    if not outputs:
        return None
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise RequestError(400, "is not a list of tensors", where="outputs", fix="name each, or leave it out")
    return outputs


def _outputs(
    columns: dict[str, np.ndarray[Any, Any]], wanted: list[Json] | None, all_binary: Any
) -> tuple[list[Json], list[bytes]]:
    """Make the tensors that are wanted; None: all of them."""
    outputs, contents = [], []
    for one in wanted if wanted is not None else [{"name": name} for name in columns]:
        name = one.get("name")
        if not isinstance(name, str) or name not in columns:
            what = f"'{str(name)[:80]}' is not an output"
            raise RequestError(400, what, where="outputs", fix=nearest(str(name)[:80], columns))
        own = _parameter(one, "binary_data")
        tensor, content = tensor_of(name, columns[name], binary=bool(all_binary if own is None else own))
        outputs.append(tensor)
        contents.append(content)
    return outputs, contents


def _parameter(holder: Json, name: str) -> Any:
    parameters = holder.get("parameters")
    return parameters.get(name) if isinstance(parameters, dict) else None


def input_of(spec: Json) -> Json:
    """Give the datatype and the shape of the tensor that suits an input's schema."""
    options = [spec, *spec.get("anyOf", ()), *spec.get("allOf", ())]
    for option in options:
        if option.get("type") == "array" and option.get("items", {}).get("type") == "array":
            shape, item = [-1], option
            while item.get("type") == "array":
                shape.append(item.get("minItems", -1) if item.get("minItems") == item.get("maxItems") else -1)
                item = item["items"]
            return {"datatype": "UINT8", "shape": [size or -1 for size in shape]}
    kinds = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}
    kind = spec.get("type")
    names = [name for name in kind if name != "null"] if isinstance(kind, list) else [kind]
    if names == ["array"]:
        return {"datatype": BYTES, "shape": [-1, -1]}
    return {"datatype": kinds.get(str(names[0]), BYTES) if len(names) == 1 else BYTES, "shape": [-1]}

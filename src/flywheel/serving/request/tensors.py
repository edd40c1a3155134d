"""Tensors of the Open Inference Protocol: JSON or binary in, raw values a row; columns of answers out.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol and its extension for binary data.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from flywheel.project.types import Json
from flywheel.serving.problem import RequestError

Array = np.ndarray[Any, Any]

NUMBERS = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
BYTES = "BYTES"
MAX_DIMENSIONS = 8
_KINDS = {"b": "b", "u": "bui", "i": "ui", "f": "uif"}
_DATATYPES = {"f4": "FP32", "f8": "FP64", "f2": "FP16", "i8": "INT64", "i4": "INT32", "b1": "BOOL"}


def values_of(tensor: Json, content: bytes | None, where: str) -> list[Any]:
    """Give a tensor's value for each row: a number or text where its shape is [N], else an array or a list.

    Args:
        tensor: A tensor of the request: `shape`, `datatype` and, unless `content` is given, `data`.
        content: The tensor's binary data.
        where: Place to name in messages.

    Raises:
        RequestError: The parts do not fit each other.
    """
    shape = _shape(tensor, where)
    datatype = tensor.get("datatype")
    if datatype == BYTES:
        flat = _split(content, where) if content is not None else _texts(tensor.get("data"), where)
        _check_size(len(flat), shape, where)
        step = len(flat) // shape[0]
        return flat if step == 1 else [flat[start : start + step] for start in range(0, len(flat), step)]
    if not isinstance(datatype, str) or datatype not in NUMBERS:
        what = f"has datatype {str(datatype)[:40]}"
        raise RequestError(400, what, where=where, fix=f"give one of {', '.join(NUMBERS)}, {BYTES}")
    dtype = np.dtype(NUMBERS[datatype])
    array = _unpacked(content, dtype, where) if content is not None else _numbers(tensor.get("data"), dtype, where)
    _check_size(array.size, shape, where)
    found = array.reshape(shape)
    return found.tolist() if found.size == len(found) else list(found)


def datatype_of(column: Array) -> str:
    """The datatype of a column of answers; lists are JSON in a text each."""
    return _DATATYPES.get(column.dtype.str[1:], BYTES)


def tensor_of(name: str, column: Array, *, binary: bool) -> tuple[Json, bytes]:
    """Make a tensor [N] of a column of answers.

    Returns:
        The tensor, and its binary data (empty where they are in its JSON).
    """
    datatype = datatype_of(column)
    tensor: Json = {"name": name, "shape": [len(column)], "datatype": datatype}
    if datatype == BYTES:
        texts = [_text(value) for value in column.tolist()]
        content = b"".join(struct.pack("<I", len(raw)) + raw for raw in (text.encode() for text in texts))
        data: list[Any] = texts
    else:
        content, data = column.astype(NUMBERS[datatype], copy=False).tobytes(), column.tolist()
    if binary:
        return {**tensor, "parameters": {"binary_data_size": len(content)}}, content
    return {**tensor, "data": data}, b""


def _shape(tensor: Json, where: str) -> list[int]:
    shape = tensor.get("shape")
    good = isinstance(shape, list) and 1 <= len(shape) <= MAX_DIMENSIONS
    if not good or not all(type(size) is int and 0 < size < 1 << 31 for size in shape or ()):
        what = "has no shape of whole numbers above 0"
        raise RequestError(400, what, where=where, fix="give [number of rows, ...]")
    return list(shape or ())


def _check_size(size: int, shape: Sequence[int], where: str) -> None:
    if size != math.prod(shape):
        raise RequestError(400, f"holds {size} values, not {math.prod(shape)}", where=where, fix="fix its shape")


def _unpacked(content: bytes, dtype: np.dtype[Any], where: str) -> Array:
    if len(content) % dtype.itemsize:
        raise RequestError(
            400, f"holds {len(content)} bytes, not a whole number of values", where=where, fix="fix its datatype"
        )
    return np.frombuffer(content, dtype)


def _numbers(data: Any, dtype: np.dtype[Any], where: str) -> Array:
    """Read numbers of JSON, flat or nested, where the datatype holds them without loss."""
    if not isinstance(data, list):
        raise RequestError(400, "has no list of data", where=where, fix="give `data`, or binary data")
    try:
        array = np.array(data)
        if array.dtype.kind in _KINDS[dtype.kind]:
            with np.errstate(over="ignore"):
                found = array.astype(dtype)
            if dtype.kind == "f" or (found == array).all():
                return found
    except (ValueError, OverflowError):
        pass
    raise RequestError(400, f"has data that are not {dtype.name}", where=where, fix="fix its datatype, or the data")


def _texts(data: Any, where: str) -> list[str]:
    flat: list[Any] = []
    pending = [data]
    while pending:
        item = pending.pop()
        pending.extend(reversed(item)) if isinstance(item, list) else flat.append(item)
    if not isinstance(data, list) or not all(isinstance(item, str) for item in flat):
        raise RequestError(400, "has no list of texts as data", where=where, fix="give `data`, or binary data")
    return flat


def _split(content: bytes, where: str) -> list[bytes]:
    """Part elements of which each has its length, 4 bytes, before it."""
    found: list[bytes] = []
    place = 0
    while place < len(content):
        end = place + 4 + int.from_bytes(content[place : place + 4], "little")
        if end > len(content) or place + 4 > len(content):
            raise RequestError(400, "ends in the middle of an element", where=where, fix="put 4 bytes of length first")
        found.append(content[place + 4 : end])
        place = end
    return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()

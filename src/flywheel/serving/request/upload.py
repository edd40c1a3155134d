"""From files in a request to raw rows: multipart forms, bare pictures and recordings, and arrays in .npy files."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from flywheel.project.errors import nearest
from flywheel.project.types import Json
from flywheel.serving.problem import RequestError
from flywheel.serving.request.form import WHERE, parts_of
from flywheel.serving.request.rows import RowReader

FILE = "file"
NPY_MAGIC = b"\x93NUMPY"
# What numpy.save writes before an array. numpy would read it as Python, which a caller could make cost anything.
_NPY = re.compile(
    rb"\x93NUMPY(\x01\x00..|\x02\x00....)\{'descr': '([<>|=][a-z]\d{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,9}, ?){0,4}\d{0,9})\), \} {0,80}\n",
    re.DOTALL,
)


def form_rows(reader: RowReader, content_type: str, body: bytes) -> list[Json]:
    """Give the rows of a multipart form.

    Each part is named after an input, and may come once a row; a file may also be called `file` where only one input
    can be a file. Every input that is there must come equally often.

    Args:
        reader: The reader of the task.
        content_type: Header, with the boundary.
        body: The body of the request.

    Raises:
        RequestError: It is no such form.
        DataError: A row lacks an input.
    """
    columns: dict[str, list[Any]] = {}
    most = reader.max_rows * max(1, len(reader.names))
    for part in parts_of(content_type, body, most):
        name = _input_of(reader, part.name)
        columns.setdefault(name, []).extend(_values(reader, name, part.content, is_file=part.is_file))
    if not columns:
        raise RequestError(400, "has no parts", where=WHERE, fix=f"name them {', '.join(reader.names)}")
    counts = {name: len(values) for name, values in columns.items()}
    if len(set(counts.values())) > 1:
        what = f"inputs come in different numbers: {counts}"
        raise RequestError(422, what, where=WHERE, fix="give one of each a row")
    return reader.of_columns(columns)


def file_rows(reader: RowReader, body: bytes) -> list[Json]:
    """Give the rows of a body that is one file: a picture, a recording, or a .npy array of pictures.

    Raises:
        RequestError: The task takes no files, several inputs, or the array is broken.
        DataError: The task has other inputs besides.
    """
    if len(reader.media) != 1:
        raise RequestError(
            415, "the task takes no bare file", where="body", fix="send JSON, or a form with a part for each input"
        )
    return reader.of_columns({reader.media[0]: _files_in(body)})


def npy_rows(encoded: bytes) -> list[np.ndarray[Any, Any]]:
    """Read a .npy file as pictures: [H, W], [H, W, 3], or several of them along a first axis.

    Nothing is made before the header's promise has been compared with the bytes that are there; no pickle is read.

    Raises:
        RequestError: It is no such file.
    """
    found = _NPY.match(encoded)
    try:
        dtype = np.dtype(found[2].decode()) if found else None
    except TypeError:
        dtype = None
    if found is None or dtype is None or dtype.kind not in "uif":
        what = "is not a .npy file of numbers"
        raise RequestError(422, what, where=FILE, fix="write an array of uint8 with numpy.save")
    shape = tuple(int(size) for size in found[4].split(b",") if size.strip())
    content = encoded[found.end() :]
    num_bytes = dtype.itemsize
    for size in shape:
        num_bytes *= size
    if num_bytes != len(content) or not 2 <= len(shape) <= 4:
        what = f"promises {list(shape)[:6]} of {dtype}, and holds {len(content)} bytes"
        raise RequestError(422, what, where=FILE, fix="save pictures [N, H, W] or [N, H, W, 3]")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if found[3] == b"True" else "C")
    single = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if not array.size:
        raise RequestError(422, "holds no pictures", where=FILE, fix="save at least one")
    return [array] if single else list(array)


def _input_of(reader: RowReader, name: str) -> str:
    name = reader.aliases.get(name, name)
    if name in reader.names:
        return name
    if name == FILE and len(reader.media) == 1:
        return str(reader.media[0])
    what = f"part '{name[:80]}' is not an input"
    raise RequestError(422, what, where=WHERE, fix=nearest(name[:80], reader.names))


def _files_in(content: bytes) -> list[Any]:
    return list(npy_rows(content)) if content.startswith(NPY_MAGIC) else [content]


def _values(reader: RowReader, name: str, content: bytes, *, is_file: bool) -> list[Any]:
    if is_file and name in reader.media:
        return _files_in(content)
    try:
        return [content.decode("utf-8-sig")]
    except UnicodeDecodeError:
        raise RequestError(422, "is not text in UTF-8", where=f"{WHERE}: {name}", fix="save it as UTF-8") from None

"""From files in a request to raw rows: multipart forms, bare pictures and recordings, and arrays in .npy files."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from flywheel.errors import nearest
from flywheel.serving.problem import RequestError
from flywheel.serving.rows import RowReader
from flywheel.types import Json

FILE = "file"
NPY_MAGIC = b"\x93NUMPY"
MAX_FIELD_BYTES = 1_000_000
WHERE = "form"


async def form_rows(reader: RowReader, content_type: str, body: bytes) -> list[Json]:
    """Give the rows of a multipart form.

    Each part is named after an input, and may come once a row; a file may also be called `file` where only one input
    can be a file. Every input that is there must come equally often.

    Args:
        reader: Of the task.
        content_type: Header, with the boundary.
        body: Of the request.

    Raises:
        RequestError: It is no such form.
        DataError: A row lacks an input.
    """
    columns: dict[str, list[Any]] = {}
    for name, value in await _parts(reader, content_type, body):
        name = _input_of(reader, name)
        columns.setdefault(name, []).extend(await _values(reader, name, value))
    if not columns:
        raise RequestError(400, "has no parts", where=WHERE, mend=f"name them {', '.join(reader.names)}")
    counts = {name: len(values) for name, values in columns.items()}
    if len(set(counts.values())) > 1:
        what = f"inputs come in different numbers: {counts}"
        raise RequestError(422, what, where=WHERE, mend="give one of each a row")
    num_rows = next(iter(counts.values()))
    reader.check_number(num_rows)
    rows = [{name: values[place] for name, values in columns.items()} for place in range(num_rows)]
    return [reader.row(row, place) for place, row in enumerate(rows)]


def file_rows(reader: RowReader, body: bytes) -> list[Json]:
    """Give the rows of a body that is one file: a picture, a recording, or a .npy array of pictures.

    Raises:
        RequestError: The task takes no files, several inputs, or the array is broken.
        DataError: The task has other inputs besides.
    """
    if len(reader.media) != 1:
        raise RequestError(
            415, "the task takes no bare file", where="body", mend="send JSON, or a form with a part for each input"
        )
    name = reader.media[0]
    values = npy_rows(body) if body.startswith(NPY_MAGIC) else [body]
    reader.check_number(len(values))
    return [reader.row({name: value}, place) for place, value in enumerate(values)]


def npy_rows(encoded: bytes) -> list[np.ndarray[Any, Any]]:
    """Read a .npy file as pictures: [H, W], [H, W, 3], or several of them along a first axis.

    Nothing is made before the header's promise has been compared with the bytes that are there; no pickle is read.

    Raises:
        RequestError: It is no such file.
    """
    stream = io.BytesIO(encoded)
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(stream)
    except (ValueError, KeyError, SyntaxError, TypeError, EOFError, MemoryError, RecursionError):
        raise RequestError(
            422, "is no .npy file that can be read", where=FILE, mend="write it with numpy.save"
        ) from None
    content = encoded[stream.tell() :]
    if dtype.hasobject or dtype.kind not in "uif":
        raise RequestError(422, f"holds {dtype}, no numbers", where=FILE, mend="save an array of uint8")
    num_bytes = dtype.itemsize
    for size in shape:
        num_bytes *= size
    if num_bytes != len(content) or not 2 <= len(shape) <= 4:
        what = f"promises {list(shape)[:6]} of {dtype}, and holds {len(content)} bytes"
        raise RequestError(422, what, where=FILE, mend="save pictures [N, H, W] or [N, H, W, 3]")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    single = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if not array.size:
        raise RequestError(422, "holds no pictures", where=FILE, mend="save at least one")
    return [array] if single else list(array)


async def _parts(reader: RowReader, content_type: str, body: bytes) -> list[tuple[str, str | bytes]]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    most = reader.max_rows * max(1, len(reader.names))
    headers = Headers({"content-type": content_type})
    parser = MultiPartParser(headers, stream(), max_files=most, max_fields=most, max_part_size=MAX_FIELD_BYTES)
    parser.spool_max_size = len(body) + 1  # files stay in memory: the body is there already, and bounded
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, KeyError, UnicodeError) as error:
        told = error.message if isinstance(error, MultiPartException) else "it is broken"
        raise RequestError(400, f"is no multipart form: {told}", where=WHERE, mend="send a well-formed one") from None
    try:
        return [
            (name, await value.read() if isinstance(value, UploadFile) else value) for name, value in form.multi_items()
        ]
    finally:
        await form.close()


def _input_of(reader: RowReader, name: str) -> str:
    if name in reader.names:
        return name
    if name == FILE and len(reader.media) == 1:
        return str(reader.media[0])
    what = f"part '{name[:80]}' is no input"
    raise RequestError(422, what, where=WHERE, mend=nearest(name[:80], reader.names))


async def _values(reader: RowReader, name: str, value: str | bytes) -> list[Any]:
    if isinstance(value, str):
        return [value]
    if name in reader.media:
        return list(npy_rows(value)) if value.startswith(NPY_MAGIC) else [value]
    try:
        return [value.decode("utf-8-sig")]
    except UnicodeDecodeError:
        raise RequestError(422, "is no text in UTF-8", where=f"{WHERE}: {name}", mend="save it as UTF-8") from None

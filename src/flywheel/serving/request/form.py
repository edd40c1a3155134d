"""Parts a multipart form, in memory: the body is there already, and bounded, so nothing goes through files."""

from __future__ import annotations

from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from flywheel.serving.problem import RequestError

WHERE = "form"
MAX_HEADER_BYTES = 4096
MAX_HEADERS = 16
FIX = "send a well-formed one"


class FormPart(NamedTuple):
    """One part: its name, its content, and whether it is a file."""

    name: str
    content: bytes
    is_file: bool


def parts_of(content_type: str, body: bytes, max_parts: int) -> list[FormPart]:
    """Give a form's parts, in order.

    Args:
        content_type: Header, with the boundary.
        body: The body of the request.
        max_parts: Maximum number of parts.

    Raises:
        RequestError: It is not a form, has too many parts, or ends before its end.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise RequestError(400, "its content-type names no boundary", where=WHERE, fix=FIX)
    reading = _Reading(max_parts)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reading.begin,
                "on_header_field": reading.header_field,
                "on_header_value": reading.header_value,
                "on_header_end": reading.header_end,
                "on_part_data": reading.data,
                "on_part_end": reading.end,
                "on_end": reading.finish,
            },
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError, UnicodeError):
        raise RequestError(400, "is not a multipart form", where=WHERE, fix=FIX) from None
    if not reading.finished:
        raise RequestError(400, "ends before its last boundary", where=WHERE, fix="send all of it")
    return reading.parts


class _Reading:
    """What the parser has found so far."""

    def __init__(self, max_parts: int) -> None:
        self.parts: list[FormPart] = []
        self.finished = False
        self._max_parts = max_parts
        self._content, self._field, self._value = bytearray(), b"", b""
        self._headers: dict[bytes, bytes] = {}

    def begin(self) -> None:
        if len(self.parts) >= self._max_parts:
            what = f"has more than {self._max_parts} parts"
            raise RequestError(413, what, where=WHERE, fix="send it as several requests")
        self._content, self._field, self._value, self._headers = bytearray(), b"", b"", {}

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]
        self._check_header()

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_header()

    def header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""
        self._check_header()

    def data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def end(self) -> None:
        options = parse_options_header(self._headers.get(b"content-disposition", b""))[1]
        if b"name" not in options:
            raise RequestError(400, "has a part without a name", where=WHERE, fix=FIX)
        name = options[b"name"].decode("utf-8", "replace")
        self.parts.append(FormPart(name, bytes(self._content), b"filename" in options))

    def finish(self) -> None:
        self.finished = True

    def _check_header(self) -> None:
        if len(self._headers) > MAX_HEADERS or len(self._field) + len(self._value) > MAX_HEADER_BYTES:
            raise RequestError(400, "has a part with too long headers", where=WHERE, fix=FIX)

"""Finds how a file's text is encoded."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from flywheel.init_task.blocks import SampleBlocks
from flywheel.project.errors import DataError

UTF8, WINDOWS, LATIN1 = "utf-8", "cp1252", "latin-1"
_WINDOWS_BYTES = re.compile(rb"[\x80-\x9f]")
_WIDE = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def encoding_of(path: Path, blocks: SampleBlocks) -> str:
    """Tell UTF-8 from the Western encodings of one byte a character.

    Bytes that are not UTF-8 are taken for latin-1, or for Windows' cp1252 where they have its characters between 0x80
    and 0x9F, which are none in latin-1.

    Raises:
        DataError: It is UTF-16 or UTF-32, or no text.
    """
    if blocks.head.startswith(_WIDE):
        raise DataError(path, None, "is UTF-16 or UTF-32 text", fix="save it as UTF-8")
    if b"\0" in blocks.head:
        raise DataError(path, None, "is not text: it contains null bytes", fix="give a CSV, Parquet or JSONL file")
    parts = (blocks.head, *blocks.others)
    if all(_fits(part, UTF8) for part in parts):
        return UTF8
    windows = any(_WINDOWS_BYTES.search(part) for part in parts)
    return WINDOWS if windows and all(_fits(part, WINDOWS) for part in parts) else LATIN1


def _fits(part: bytes, encoding: str) -> bool:
    try:
        part.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def decoded(part: bytes, encoding: str) -> str:
    """The text of some lines, a byte-order mark left away, every line ended by a line feed."""
    return part.decode(encoding).removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")

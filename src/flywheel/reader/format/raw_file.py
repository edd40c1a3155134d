"""Opens the files of a data set, plain or gzipped, and says in one line when they are missing or broken."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from flywheel.project.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"


def require_file(path: Path) -> Path:
    """Return `path`, or raise the DataError that says it is missing."""
    if not path.is_file():
        raise DataError(path, None, "missing", fix="run the download stage, or fix its name in conf/data/")
    return path


def is_gzip(path: Path) -> bool:
    """Tell by the content, as the name may lie."""
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


@contextmanager
def open_raw(path: Path) -> Iterator[IO[bytes]]:
    """Open for reading, unpacking gzip on the way.

    Raises:
        DataError: The gzip is truncated or corrupt; raised by whichever read comes upon it.
    """
    with broken_gzip_named(path):
        if is_gzip(path):
            with gzip.open(path) as unpacked:
                yield cast("IO[bytes]", unpacked)
        else:
            with path.open("rb") as file:
                yield file


@contextmanager
def broken_gzip_named(path: Path) -> Iterator[None]:
    """Turn what the gzip module raises on broken bytes into a DataError."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        why = f"truncated or corrupt gzip ({error})"
        raise DataError(path, None, why, fix="download it again") from None

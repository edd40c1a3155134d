"""Reads Debian packages without installing them, and without Debian's tools: an `ar` archive with a tar inside."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from flywheel.project.errors import SourceError
from flywheel.source.archive import ZSTD, decompressed, explained, unpack_tar
from flywheel.source.base import SkippedError
from flywheel.source.unpacking import Limits, Meter, Unpacking

AR_MAGIC = b"!<arch>\n"
HEADER_BYTES = 60  # name 16, time 12, owner 6, group 6, mode 8, size 10, "`\n"


class _Window(io.RawIOBase):
    """One member of the `ar` archive as a file of its own."""

    def __init__(self, file: IO[bytes], start: int, num_bytes: int) -> None:
        self._file, self._start, self._num_bytes, self._at = file, start, num_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._num_bytes}[whence]
        return self._at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # typeshed's WriteableBuffer is private
        self._file.seek(self._start + self._at)
        block = self._file.read(min(len(buffer), max(0, self._num_bytes - self._at)))
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)


def unpack_deb(package: Path, folder: Path, *, prefix: str = "") -> None:
    """Unpack the files of a Debian package into a folder, safely.

    Args:
        package: The .deb file.
        folder: Folder to create.
        prefix: Only this file, or what lies under this folder (without a leading slash); empty: everything.

    Raises:
        SkippedError: It is compressed with zstd, and dpkg-deb is not there to read that.
        SourceError: It is not a Debian package, is damaged, or holds what is refused.
    """
    unpacking = Unpacking(folder, Meter(package, Limits(), package.stat().st_size), prefix)
    with explained(package), package.open("rb") as file:
        data = io.BufferedReader(cast(io.RawIOBase, _data_member(file, package.name)))
        if data.peek(4).startswith(ZSTD):
            with _through_dpkg(package) as stream:
                unpack_tar(stream, unpacking)
        else:
            with decompressed(cast(IO[bytes], data), package.name) as stream:
                unpack_tar(stream, unpacking)
        unpacking.finish()


def _data_member(file: IO[bytes], name: str) -> _Window:
    if file.read(len(AR_MAGIC)) != AR_MAGIC:
        raise SourceError("is not a Debian package", where=name)
    while len(header := file.read(HEADER_BYTES)) == HEADER_BYTES:
        member, size = header[:16].rstrip(b" /"), header[48:58].strip()
        if not size.isdigit() or header[58:] != b"`\n":
            break
        if member.startswith(b"data.tar"):
            return _Window(file, file.tell(), int(size))
        file.seek(int(size) + int(size) % 2, io.SEEK_CUR)
    raise SourceError("is a broken Debian package: no data in it", where=name)


@contextlib.contextmanager
def _through_dpkg(package: Path) -> Iterator[IO[bytes]]:
    """Let dpkg-deb decompress what this Python cannot."""
    if shutil.which("dpkg-deb") is None:
        raise SkippedError("is compressed with zstd, and dpkg-deb is not installed", where=package.name)
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as process:
        if process.stdout is None:
            raise SkippedError("dpkg-deb has no output", where=package.name)
        try:
            yield process.stdout
        finally:
            process.stdout.close()
            code = process.wait()
    if code != 0:
        raise SourceError(f"dpkg-deb fails with exit code {code}", where=package.name)

"""Safe unpacking of zip, tar (plain, gzip, bzip2, xz) and single gzip files: nothing lands outside the folder.

Names that are absolute or hold `..`, links out of the folder, devices, names that come twice, and archives that grow
beyond all measure are refused. Links inside the folder become copies. Contents are streamed; modes, owners and times
are not kept.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from flywheel.project.errors import SourceError
from flywheel.source.base import CHUNK_BYTES
from flywheel.source.unpacking import Limits, Meter, Unpacking

ZIP = (b"PK\x03\x04", b"PK\x05\x06")
ZSTD = b"\x28\xb5\x2f\xfd"
OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


def unpack(archive: Path, folder: Path, *, prefix: str = "", limits: Limits | None = None) -> None:
    """Unpack a zip or tar archive, known by its content, into a folder.

    Args:
        archive: The file.
        folder: Folder to create.
        prefix: Only this member, or what lies under this folder; empty: everything.
        limits: Against bombs; None: the default ones.

    Raises:
        SourceError: It is not an archive, is broken, or holds what is refused.
    """
    unpacking = Unpacking(folder, Meter(archive, limits or Limits(), archive.stat().st_size), prefix)
    with explained(archive):
        with archive.open("rb") as file:
            if file.read(4) in ZIP:
                with zipfile.ZipFile(file) as members:
                    _unpack_zip(members, unpacking)
            else:
                file.seek(0)
                with decompressed(file, archive.name) as stream:
                    unpack_tar(stream, unpacking)
        unpacking.finish()


def gunzip(archive: Path, target: Path, *, num_bytes: int | None = None) -> None:
    """Decompress one gzip file.

    Args:
        archive: The file.
        target: File to write.
        num_bytes: Largest unpacked size; None: the default limits.

    Raises:
        SourceError: It is not a gzip file, is cut, or unpacks to too much.
    """
    limits = Limits() if num_bytes is None else Limits(ratio=0, free_bytes=num_bytes)
    meter = Meter(archive, limits, archive.stat().st_size)
    with explained(archive), gzip.open(archive) as content, target.open("wb") as file:
        while block := content.read(CHUNK_BYTES):
            meter.count(len(block))
            file.write(block)


@contextlib.contextmanager
def decompressed(file: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """Read a gzip, bzip2, xz or uncompressed file as what it holds.

    Args:
        file: Open, at its start, seekable.
        name: Name for messages.
    """
    start = file.read(6)
    file.seek(0)
    if start.startswith(ZSTD):
        raise SourceError("is compressed with zstd", where=name, fix="unpack it by hand and use file:")
    opener = next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), None)
    if opener is None:
        yield file
        return
    with opener(file) as stream:
        yield stream


def unpack_tar(stream: IO[bytes], unpacking: Unpacking) -> None:
    """Unpack an uncompressed tar stream; links are left to `unpacking.finish`."""
    blocks = _Blocks(stream, unpacking.meter.fresh())
    with tarfile.open(fileobj=cast(IO[bytes], blocks), mode="r|", bufsize=CHUNK_BYTES // 8) as members:
        while (member := members.next()) is not None:
            vars(members)["members"].clear()  # or millions of them would stay in memory
            _unpack_tar_member(members, member, unpacking, blocks)
        # tarfile takes a broken header for the end; and a compressed stream's own checksum is at its very end.
        rest = cast(IO[bytes], members.fileobj)
        while block := rest.read(CHUNK_BYTES):
            blocks.in_header_bytes = 0
            if block.strip(b"\0"):
                raise tarfile.ReadError("data after its end")
    if blocks.last.strip(b"\0"):
        raise tarfile.ReadError("cut before its end")


class _Blocks:
    """A tar stream that is counted, and may not have endless headers: tarfile would hold them in memory."""

    def __init__(self, stream: IO[bytes], meter: Meter) -> None:
        self._stream, self._meter = stream, meter
        self.in_header_bytes, self.last = 0, b""

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._meter.count(len(block))
        self.in_header_bytes += len(block)
        if self.in_header_bytes > self._meter.limits.header_bytes:
            raise self._meter.bomb("has headers without end")
        self.last = (self.last + block)[-tarfile.BLOCKSIZE :]
        return block


class _Content:
    """A tar member's bytes; reading them is not a reading of headers."""

    def __init__(self, content: IO[bytes], blocks: _Blocks) -> None:
        self._content, self._blocks = content, blocks

    def read(self, size: int) -> bytes:
        self._blocks.in_header_bytes = 0
        return self._content.read(min(size, CHUNK_BYTES))


def _unpack_tar_member(
    members: tarfile.TarFile, member: tarfile.TarInfo, unpacking: Unpacking, blocks: _Blocks
) -> None:
    blocks.in_header_bytes = 0
    name = unpacking.name(member.name)
    content = members.extractfile(member) if member.isreg() else None
    if content is not None:
        stream = cast(IO[bytes], _Content(content, blocks))
        if name is not None:
            unpacking.write(name, stream)
        while stream.read(CHUNK_BYTES):  # what is not wanted is passed over here
            pass
    elif name is None:
        return
    elif member.isdir():
        unpacking.make_folder(name)
    elif member.issym() or member.islnk():
        unpacking.link(name, member.linkname, relative=member.issym())
    else:
        raise unpacking.refused(name, "is a device or another special file")


def _unpack_zip(members: zipfile.ZipFile, unpacking: Unpacking) -> None:
    for member in members.infolist():
        name = unpacking.name(member.filename)
        if name is None:
            continue
        if member.flag_bits & 0x1:
            raise unpacking.refused(name, "is encrypted")
        kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where a zip was not made on Unix
        if member.is_dir():
            unpacking.make_folder(name)
        elif kind in (0, stat.S_IFREG):
            with members.open(member) as content:
                unpacking.write(name, content)
        elif kind == stat.S_IFLNK:
            unpacking.link(name, _link_target(members, member), relative=True)
        else:
            raise unpacking.refused(name, "is a device or another special file")


def _link_target(members: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
    with members.open(member) as content:
        return content.read(4096).decode("utf-8", "replace")


@contextlib.contextmanager
def explained(archive: Path) -> Iterator[None]:
    """Make one line of what the formats' own modules complain about.

    Raises:
        SourceError: The archive is broken.
    """
    try:
        yield
    except BROKEN as error:
        raise SourceError(f"not an archive, or a broken one ({error})", where=archive.name) from None
    except OSError as error:
        if error.errno is not None:  # the disk's, not the archive's
            raise
        raise SourceError(f"a broken archive ({error})", where=archive.name) from None  # bzip2 says it so
    except NotImplementedError as error:  # zipfile: a compression it does not know
        raise SourceError(f"cannot be unpacked ({error})", where=archive.name) from None

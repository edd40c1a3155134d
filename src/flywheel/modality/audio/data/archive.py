"""Lists and reads the recordings of a folder, or of a tar or zip archive, which is never unpacked to the disk."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from lzma import LZMAError
from pathlib import Path
from typing import IO, NamedTuple

from flywheel.modality.audio.data.file import AudioError
from flywheel.project.errors import DataError
from flywheel.reader.format.folder import list_files
from flywheel.reader.format.tar_link import refuse_member

MAX_FILE_BYTES = 256 * 1024 * 1024
"""A larger file in an archive is not read: the row gets a reason."""

# zipfile raises RuntimeError for an encrypted file, and its subclass NotImplementedError for an unknown compression.
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError, OSError, RuntimeError)


class Member(NamedTuple):
    """A recording's name (its path in the folder or archive), and what reads its bytes, or raises AudioError."""

    name: str
    read: Callable[[], bytes]


def members(root: Path, extensions: Sequence[str]) -> Iterator[Member]:
    """Give the recordings one after the other: of a folder in the order of the sorted paths, of an archive in its own.

    A member of an archive must be read before the next one is asked for.

    Args:
        root: A folder, a zip file, or a tar file, plain or compressed.
        extensions: File names that count as recordings (in any case); hidden files never do.

    Raises:
        DataError: There is no such file or folder, or it is not an archive, or is damaged, or a recording in a tar
            archive is a link or has a name that is not UTF-8.
    """
    endings = tuple(extension.lower() for extension in extensions)
    if not root.exists():
        fix = "run the download stage, or fix `path` of the reader in conf/data/"
        raise DataError(root, None, "no such file or folder", fix=fix)
    if root.is_dir():
        for name in list_files(root, endings):
            yield Member(name, partial(read_file, root / name))
        return
    try:
        yield from (_in_zip if zipfile.is_zipfile(root) else _in_tar)(root, endings)
    except _BROKEN as error:
        why = f"is not a zip or tar archive, or is damaged ({error})"
        raise DataError(root, None, why.replace("\n", " "), fix="download it again") from None


def _in_zip(root: Path, endings: tuple[str, ...]) -> Iterator[Member]:
    with zipfile.ZipFile(root) as archive:
        for info in archive.infolist():
            if not info.is_dir() and _counts(info.filename, endings):
                yield Member(info.filename, partial(_limited, info.file_size, partial(archive.open, info)))


def _in_tar(root: Path, endings: tuple[str, ...]) -> Iterator[Member]:
    with tarfile.open(root, "r:*") as archive:
        for info in archive:
            archive.members.clear()  # type: ignore[attr-defined]  # else a TarFile remembers all that it has seen
            if not _counts(info.name, endings):
                continue
            refuse_member(root, info)
            if info.isreg():
                name = info.name.removeprefix("./")
                yield Member(name, partial(_limited, info.size, partial(archive.extractfile, info)))


def read_file(path: Path) -> bytes:
    """Read a recording.

    Raises:
        AudioError: It is too large, or cannot be read.
    """
    return _limited(path.stat().st_size, lambda: path.open("rb"))


def _limited(num_bytes: int, opened: Callable[[], IO[bytes] | None]) -> bytes:
    """Read a file, unless it is too large or broken: a row may be bad while the others are not."""
    if num_bytes > MAX_FILE_BYTES:
        raise AudioError(f"has {num_bytes} bytes, more than {MAX_FILE_BYTES}")
    try:
        file = opened()
        if file is None:
            return b""
        with file:
            return file.read(num_bytes)  # a larger number would be allocated before anything is read
    except _BROKEN as error:
        raise AudioError(f"cannot be read: {error}") from None


def _counts(name: str, endings: tuple[str, ...]) -> bool:
    parts = name.removeprefix("./").split("/")
    return parts[-1].lower().endswith(endings) and not any(part.startswith(".") for part in parts)

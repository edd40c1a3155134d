"""Refuses links in tar archives, which hold no bytes and could lead anywhere, and names that are not text."""

from __future__ import annotations

import tarfile
from pathlib import Path

from flywheel.project.errors import DataError, SourceError
from flywheel.source.folder import utf8_name


def refuse_member(archive: Path, member: tarfile.TarInfo) -> None:
    """Refuse a link, hard or symbolic, that is named like a file which is wanted: to skip it would lose a row silently.

    Raises:
        DataError: The member is a link, or its name is not UTF-8.
    """
    try:
        utf8_name(member.name)
    except SourceError as error:
        raise DataError(archive, None, error.what, fix="rename it, and pack the archive again") from None
    if member.islnk() or member.issym():
        name = member.name.removeprefix("./")
        raise DataError(archive, None, f"'{name}' is a link", fix="pack it with tar --hard-dereference -h")

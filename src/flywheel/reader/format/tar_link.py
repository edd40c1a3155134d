"""Refuses links in tar archives: they hold no bytes, and following them would lead anywhere."""

from __future__ import annotations

import tarfile
from pathlib import Path

from flywheel.errors import DataError


def refuse_link(archive: Path, member: tarfile.TarInfo) -> None:
    """Refuse a hard or symbolic link that is named like a file which is wanted: to skip it would lose a row silently.

    Raises:
        DataError: The member is a link.
    """
    if member.islnk() or member.issym():
        name = member.name.removeprefix("./")
        raise DataError(archive, None, f"'{name}' is a link", mend="pack it with tar --hard-dereference -h")

"""The files of a folder, as one source offers them."""

from __future__ import annotations

import os
from pathlib import Path

from flywheel.errors import SourceError


def files_in(folder: Path) -> dict[str, Path]:
    """List a folder's files by relative name, in order; links are followed, hidden files and folders left out.

    Raises:
        SourceError: A file's name is not UTF-8, or something in it is no file.
    """
    found: dict[str, Path] = {}
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        real = os.path.realpath(place)
        if real in seen:  # links in a circle
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.startswith("."):
                continue
            path = Path(place) / name
            found[_plain_name(path.relative_to(folder))] = path
            if not path.is_file():
                raise SourceError("is no file, or a link to nothing", where=path, mend="remove it from the folder")
    return dict(sorted(found.items()))


def _plain_name(path: Path) -> str:
    name = path.as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        raise SourceError(f"the file name {name!a} is not UTF-8", mend="rename it") from None
    return name


def _refuse(error: OSError) -> None:
    raise SourceError(f"cannot be read ({error.strerror})", where=error.filename)

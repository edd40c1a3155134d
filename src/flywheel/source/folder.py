"""The files of a folder: the one way in which sources, readers, predictions and `init-task` list them."""

from __future__ import annotations

import os
from pathlib import Path

from flywheel.project.errors import SourceError


def files_in(folder: Path) -> dict[str, Path]:
    """List a folder's files by relative name, in order; links are followed, hidden files and folders left out.

    A folder that several links lead to is listed under each of its names. Only a link that leads back to a folder it
    lies in is passed over: everything there has been listed already.

    Raises:
        SourceError: A folder cannot be read, a file's name is not UTF-8, or something in it is not a file.
    """
    found: dict[str, Path] = {}
    real: dict[str, str] = {}
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        real[place] = os.path.realpath(place)
        if place != str(folder) and real[place] in _above(place, real):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.startswith("."):
                continue
            path = Path(place) / name
            found[utf8_name(path.relative_to(folder).as_posix())] = path
            if not path.is_file():
                raise SourceError("is not a file, or is a broken link", where=path, fix="remove it from the folder")
    return dict(sorted(found.items()))


def utf8_name(name: str) -> str:
    """Give the name of a file back if it is text, which results and messages can hold.

    Raises:
        SourceError: It is not UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise SourceError(f"the file name {name!a} is not UTF-8", fix="rename it") from None
    return name


def _above(place: str, real: dict[str, str]) -> set[str]:
    """Where the folders that a place lies in, as it was walked to, really are."""
    above = set()
    while (place := os.path.split(place)[0]) in real:
        above.add(real[place])
    return above


def _refuse(error: OSError) -> None:
    raise SourceError(f"cannot be read ({error.strerror})", where=error.filename)

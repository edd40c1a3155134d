"""Lists the files of a folder for all who read examples from it: readers, `flywheel predict` and `init-task`."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from flywheel.project.errors import DataError, SourceError
from flywheel.reader.format.value import object_column
from flywheel.source.folder import files_in, utf8_name


def list_files(folder: Path, extensions: Sequence[str] = ("",)) -> list[str]:
    """List a folder's files by their path in it (`/` between folders), sorted; links are followed.

    Args:
        folder: Folder to search recursively; hidden files and folders are left out.
        extensions: Endings that count, in any case.

    Raises:
        DataError: The folder cannot be read, or holds a name that is not UTF-8 or a link to nothing.
    """
    try:
        names = files_in(folder)
    except SourceError as error:
        raise DataError(error.where or folder, None, error.what, fix=error.fix) from None
    endings = tuple(extension.lower() for extension in extensions)
    return [name for name in names if name.lower().endswith(endings)]


def request_files(path: Path, noun: str, extensions: Sequence[str], tables: Sequence[str]) -> list[Path]:
    """Give the files that a path given to `flywheel predict` stands for: itself, or the examples in a folder.

    Args:
        path: A file or folder.
        noun: Name of the examples, in the plural.
        extensions: Endings of files that are an example.
        tables: Endings of files that hold several.

    Raises:
        DataError: There is no such file, it is of another kind, or the folder holds none.
    """
    if path.is_dir():
        files = [path / name for name in list_files(path, extensions)]
        if not files:
            raise DataError(path, None, f"holds no {noun} ({', '.join(extensions)})")
        return files
    if not path.is_file():
        raise DataError(path, None, "no such file", fix="check the path")
    if path.suffix.lower() not in (*extensions, *tables):
        kinds = ", ".join((*extensions, *tables))
        raise DataError(path, None, f"files of type '{path.suffix}' are not supported", fix=f"give {kinds} or a folder")
    return [path]


def request_frames(files: Iterable[Path], read: Callable[[Path], pd.DataFrame], fix: str) -> list[pd.DataFrame]:
    """Read each file given to `flywheel predict`, and add `file` (as given) and `row` (within the file).

    Raises:
        DataError: There are none; `fix` says what to give.
    """
    frames = [(path, read(path)) for path in files]
    if not frames:
        raise DataError("predict", None, "no files given", fix=fix)
    return [frame.assign(file=object_column([str(path)] * len(frame)), row=range(len(frame))) for path, frame in frames]


def check_name(path: Path) -> None:
    """Refuse a path that no table of results could hold.

    Raises:
        DataError: It is not UTF-8.
    """
    try:
        utf8_name(str(path))
    except SourceError as error:
        raise DataError("predict", None, error.what, fix=error.fix) from None


def composed(name: str) -> str:
    """Give a name in Unicode's composed form (NFC): macOS and some archives take letters and accents apart."""
    return unicodedata.normalize("NFC", name)

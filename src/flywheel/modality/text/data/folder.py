"""Reads texts that lie in one folder a class, unpacked or in a tar archive."""

from __future__ import annotations

import functools
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from flywheel.project.errors import DataError
from flywheel.project.types import Reader, Split, Splits
from flywheel.reader.format.folder import composed, list_files
from flywheel.reader.format.raw_file import require_file
from flywheel.reader.format.tar_link import refuse_member

MAX_CHUNK_CHARACTERS = 16 * 1024 * 1024
"""Text that is put into one frame at most, however many rows were asked for."""


@dataclass(frozen=True)
class TextFolderReader(Reader):
    """`<split>/<class>/*.txt`: the folder's name is the label. Rows are in the order of the sorted paths.

    Many small files are slow to copy, to hash and to open; given as one tar archive they are read from there. It is
    read once, into a temporary file; of every text only its name and its place are held in memory. An archive in
    which a text is a link (to another name of the same file, say) is refused: the link holds no text.

    Attributes:
        train: Folder under the raw folder, or inside the archive, that holds the class folders; `.`: the top.
        test: Folder of the official test split; None: there is none.
        validation: Folder of the official validation split; None: there is none.
        archive: Tar file under the raw folder (plain, gzip, bzip2 or xz); None: the raw folder holds the folders.
        classes: The class folders to read, in the order of the classes; None: all that there are.
        extension: File names that count as texts (in any case).
        encoding: Encoding of the texts; a text that is not in it is passed on as a bad row.
    """

    train: str = "train"
    test: str | None = "test"
    validation: str | None = None
    archive: str | None = None
    classes: Sequence[str] | None = None
    extension: str = ".txt"
    encoding: str = "utf-8"

    def read(self, raw_dir: Path) -> Splits:
        """List the texts; they are read when a chunk is asked for.

        Raises:
            DataError: A folder or the archive is missing or broken, or holds no class folders with texts.
        """
        folders = {"train": self.train, "validation": self.validation, "test": self.test}
        wanted = {name: PurePosixPath(folder) for name, folder in folders.items() if folder is not None}
        if self.archive is None:
            return {name: self._split(self._listed(raw_dir / folder), raw_dir / folder)
                    for name, folder in wanted.items()}  # fmt: skip
        archive = require_file(raw_dir / self.archive)
        spooled = self._spooled(archive, list(wanted.values()))
        return {name: self._split(spooled[folder], archive / folder) for name, folder in wanted.items()}

    def _split(self, texts: dict[str, Callable[[], bytes]], place: Path) -> Split:
        """A split of texts, each known by `<class>/<file>`."""
        if not texts:
            fix = "put each class's texts into a folder of its name, or fix conf/data/"
            raise DataError(place, None, f"no class folders with texts (*{self.extension})", fix=fix)
        held = {composed(name.split("/", 1)[0]) for name in texts}
        for name in self.classes or ():
            if composed(name) not in held:
                raise DataError(place, None, f"has no texts of class '{name}'", fix="fix `classes` in conf/data/")
        names = sorted(texts)

        def between(first: int, end: int, rows: int) -> Iterator[pd.DataFrame]:
            return self._chunks(names[first:end], texts, rows, first)

        # An archive is unpacked anew by whoever opens it: better once, by the one who reads it all.
        return Split(len(names), lambda rows: between(0, len(names), rows), str(place),
                     between if self.archive is None else None)  # fmt: skip

    def _chunks(
        self, names: list[str], texts: dict[str, Callable[[], bytes]], rows: int, row: int
    ) -> Iterator[pd.DataFrame]:
        """Read texts, the first of them as number `row`; a frame ends after `rows` or `MAX_CHUNK_CHARACTERS`."""
        first, size = 0, 0
        held: list[str | None] = []
        errors: list[str | None] = []
        for number, name in enumerate(names, 1):
            text, error = self._decoded(texts[name]())
            held.append(text)
            errors.append(error)
            size += len(text or "")
            if len(held) >= rows or size >= MAX_CHUNK_CHARACTERS or number == len(names):
                yield _frame(names[first:number], held, errors, row + first)
                first, size, held, errors = number, 0, [], []

    def _decoded(self, content: bytes) -> tuple[str | None, str | None]:
        try:
            return content.decode(self.encoding), None
        except UnicodeDecodeError as error:
            return None, f"is not {self.encoding} text (byte {error.start})"

    def _listed(self, root: Path) -> dict[str, Callable[[], bytes]]:
        if not root.is_dir():
            fix = "run the download stage, or fix `train` and `test` of the reader in conf/data/"
            raise DataError(root, None, "no such folder", fix=fix)
        return {name: (root / name).read_bytes for name in list_files(root) if self._is_wanted(name)}

    def _is_wanted(self, name: str) -> bool:
        """Whether a path below a split is a text of a class that is read."""
        parts = name.split("/")
        hidden = any(part.startswith(".") for part in parts)
        known = self.classes is None or composed(parts[0]) in map(composed, self.classes)
        return len(parts) > 1 and not hidden and known and name.lower().endswith(self.extension.lower())

    def _spooled(
        self, archive: Path, folders: list[PurePosixPath]
    ) -> dict[PurePosixPath, dict[str, Callable[[], bytes]]]:
        """Copy the archive's texts into one temporary file, which goes when nobody reads it any more."""
        spool = _Spool()
        found: dict[PurePosixPath, dict[str, Callable[[], bytes]]] = {folder: {} for folder in folders}
        try:
            with tarfile.open(archive, "r|*") as members:
                while (member := members.next()) is not None:
                    vars(members)["members"].clear()  # or all headers would stay in memory
                    path = PurePosixPath(member.name)
                    folder = next((one for one in folders if path.is_relative_to(one)), None)
                    name = "" if folder is None else path.relative_to(folder).as_posix()
                    is_wanted = self._is_wanted(name)
                    if is_wanted:
                        refuse_member(archive, member)
                    content = members.extractfile(member) if is_wanted and member.isreg() else None
                    if folder is not None and content is not None:
                        found[folder][name] = spool.hold(content.read())
        except (tarfile.TarError, EOFError, OSError) as error:
            why = f"is not a tar archive, or is damaged ({error})"
            raise DataError(archive, None, why, fix="download it again") from None
        return found


class _Spool:
    """A temporary file that holds texts one after the other, and is closed when no text of it can be asked for."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the splits are

    def hold(self, content: bytes) -> Callable[[], bytes]:
        """Append a text, and give what reads it again."""
        return functools.partial(self._read, self._file.tell(), self._file.write(content))

    def _read(self, start: int, num_bytes: int) -> bytes:
        self._file.seek(start)
        return self._file.read(num_bytes)

    def __del__(self) -> None:
        self._file.close()


def _frame(names: list[str], texts: list[str | None], errors: list[str | None], first: int) -> pd.DataFrame:
    index = pd.RangeIndex(first, first + len(names))
    columns: dict[str, Iterable[str | None]] = {
        "text": texts,
        "label": (composed(name.split("/", 1)[0]) for name in names),
        "file": names,
    }
    if any(errors):
        columns["error"] = errors
    # Objects, also where all are texts: a chunk without a bad row is to look like one with.
    return pd.DataFrame({key: pd.Series(list(values), index, dtype=object) for key, values in columns.items()})

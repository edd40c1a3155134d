"""Reads pictures that lie in one folder a class."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.modality.image.data.file import IMAGE_EXTENSIONS, ImageError, decode_image
from flywheel.modality.image.data.frame import MAX_CHUNK_BYTES, image_frame
from flywheel.project.errors import DataError
from flywheel.project.types import Reader, Split, Splits
from flywheel.reader.format.folder import composed, list_files
from flywheel.reader.format.value import object_column

log = logging.getLogger("flywheel")


@dataclass(frozen=True)
class ImageFolderReader(Reader):
    """`<split>/<class>/*.png`: the folder's name is the label. Rows are in the order of the sorted paths.

    Attributes:
        train: Folder under the raw folder that holds the class folders; `.`: the raw folder itself.
        test: Folder of the official test split; None: there is none.
        validation: Folder of the official validation split; None: there is none.
        extensions: File names that count as pictures (in any case); hidden files never do.
    """

    train: str = "train"
    test: str | None = "test"
    validation: str | None = None
    extensions: Sequence[str] = IMAGE_EXTENSIONS

    def read(self, raw_dir: Path) -> Splits:
        """List the files; pictures are decoded when a chunk is asked for.

        Raises:
            DataError: A folder is missing, or holds no class folders with pictures.
        """
        folders = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: self._split(raw_dir / folder) for name, folder in folders.items() if folder is not None}

    def _split(self, root: Path) -> Split:
        if not root.is_dir():
            fix = "run the download stage, or fix `train` and `test` of the reader in conf/data/"
            raise DataError(root, None, "no such folder", fix=fix)
        files = self._files(root)
        if not files:
            why = f"no class folders with pictures ({', '.join(self.extensions)})"
            raise DataError(root, None, why, fix="put each class's pictures into a folder of its name")

        def between(first: int, end: int, rows: int) -> Iterator[pd.DataFrame]:
            return _chunks(root, files[first:end], rows, first)

        return Split(len(files), lambda rows: between(0, len(files), rows), str(root), between)

    def _files(self, root: Path) -> list[str]:
        found = [name for name in list_files(root, self.extensions) if "/" in name]
        others = sum("/" in name for name in list_files(root)) - len(found)
        if others:
            log.info("%s: %d files are not pictures by their names and are left out", root, others)
        return found


def _chunks(root: Path, files: Sequence[str], rows: int, first: int) -> Iterator[pd.DataFrame]:
    """Decode `files`, of which the first is row `first`.

    A frame ends after `rows` pictures or `MAX_CHUNK_BYTES`, whichever comes first.
    """
    images: list[Any] = []
    errors: list[str | None] = []
    start, size = 0, 0
    for name in files:
        try:
            content = (root / name).read_bytes()
            image = decode_image(content)
            # Of 16 bits a channel: the preprocessor must see that these are a file's, and so which levels they have.
            images.append(image if image.dtype == np.uint8 else content)
            errors.append(None)
            size += image.nbytes
        except ImageError as error:
            images.append(None)
            errors.append(str(error))
        if len(images) >= rows or size >= MAX_CHUNK_BYTES:
            yield _frame(images, errors, files[start : start + len(images)], first + start)
            start += len(images)
            images, errors, size = [], [], 0
    if images:
        yield _frame(images, errors, files[start:], first + start)


def _frame(images: list[Any], errors: list[str | None], names: Sequence[str], first: int) -> pd.DataFrame:
    frame = image_frame(images, object_column(composed(name.split("/", 1)[0]) for name in names), first, errors)
    frame["file"] = object_column(names)
    return frame

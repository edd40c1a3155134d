"""Reads the IDX format of MNIST and its relatives, plain or gzipped, one chunk at a time.

The format (LeCun, Cortes, Burges): two zero bytes, a type code, the number of dimensions, each dimension as a
big-endian 32-bit number, then the values in C order.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.modality.image.data.frame import image_frame, rows_per_chunk
from flywheel.project.errors import ConfigError, DataError
from flywheel.project.types import Reader, Split, Splits
from flywheel.reader.format.raw_file import is_gzip, open_raw, require_file
from flywheel.reader.format.value import object_column

UNSIGNED_BYTE = 0x08


@dataclass(frozen=True)
class IdxReader(Reader):
    """Pictures and labels in pairs of IDX files.

    Attributes:
        train_images: File under the raw folder: unsigned bytes, [N, H, W] or [N, H, W, 3].
        train_labels: Unsigned bytes, [N].
        test_images: The official test split; None: there is none.
        test_labels: The labels of the official test split.
        classes: Name of each label, in the order of its number; None: the number is the name.
    """

    train_images: str
    train_labels: str
    test_images: str | None = None
    test_labels: str | None = None
    classes: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Refuse a test split of which only one file is named."""
        if (self.test_images is None) != (self.test_labels is None):
            raise ConfigError("test_images and test_labels go together", where="data.reader.read")

    def read(self, raw_dir: Path) -> Splits:
        """Check the headers and give the splits; the pictures are read when a chunk is asked for.

        Raises:
            DataError: A file is missing, is not IDX, or the two of a pair differ in their number of rows.
        """
        splits = {"train": self._split(raw_dir / self.train_images, raw_dir / self.train_labels)}
        if self.test_images is not None and self.test_labels is not None:
            splits["test"] = self._split(raw_dir / self.test_images, raw_dir / self.test_labels)
        return splits

    def _split(self, images_path: Path, labels_path: Path) -> Split:
        images, labels = IdxFile.open(images_path), IdxFile.open(labels_path)
        images.expect((len(images.shape) == 4 and images.shape[3] == 3) or len(images.shape) == 3, "pictures")
        labels.expect(len(labels.shape) == 1, "labels")
        if images.num_rows != labels.num_rows:
            why = f"{labels.num_rows} labels for the {images.num_rows} pictures of {images_path.name}"
            raise DataError(labels_path, None, why, fix="download both again")

        def between(first: int, end: int, rows: int) -> Iterator[pd.DataFrame]:
            rows = rows_per_chunk(rows, images.row_bytes)
            for pixels, codes in zip(images.blocks(rows, first, end), labels.blocks(rows, first, end), strict=True):
                names, errors = self._labels(codes)
                yield image_frame(pixels, names, first, errors)
                first += len(pixels)

        def chunks(rows: int) -> Iterator[pd.DataFrame]:
            return between(0, images.num_rows, rows)

        packed = is_gzip(images_path) or is_gzip(labels_path)
        return Split(images.num_rows, chunks, str(images_path), None if packed else between)

    def _labels(self, codes: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], list[str | None] | None]:
        if self.classes is None:
            return codes.astype(np.int64), None
        known = len(self.classes)
        names = object_column([*self.classes, None])[np.minimum(codes, known)]
        if not (codes >= known).any():
            return names, None
        return names, [f"label {c} is not one of the {known} classes" if c >= known else None for c in codes]


@dataclass(frozen=True)
class IdxFile:
    """The header of one IDX file, and its rows as a stream."""

    path: Path
    shape: tuple[int, ...]

    @classmethod
    def open(cls, path: Path) -> IdxFile:
        """Read the header, and for a plain file compare its size with what the header promises."""
        require_file(path)
        with open_raw(path) as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0":
                raise DataError(path, None, "is not an IDX file: it does not start with two zero bytes")
            if magic[2] != UNSIGNED_BYTE:
                why = f"holds IDX type 0x{magic[2]:02x}; only unsigned bytes (0x08) are read"
                raise DataError(path, None, why)
            dimensions = stream.read(4 * magic[3])
        if magic[3] == 0 or len(dimensions) < 4 * magic[3]:
            raise DataError(path, None, "its IDX header is truncated", fix="download it again")
        file = cls(path, struct.unpack(f">{magic[3]}I", dimensions))
        if not is_gzip(path):
            held = path.stat().st_size - file.header_bytes
            if held != file.num_rows * file.row_bytes:
                raise file.wrong_size(held)
        return file

    @property
    def num_rows(self) -> int:
        """The first dimension."""
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape[1:])

    @property
    def header_bytes(self) -> int:
        """Where the first row starts."""
        return 4 + 4 * len(self.shape)

    def expect(self, good: bool, what: str) -> None:
        """Raise unless the file's dimensions are those of `what`."""
        if not good:
            size = " x ".join(map(str, self.shape))
            raise DataError(self.path, None, f"holds {size} values, which are not {what}")

    def wrong_size(self, held: int) -> DataError:
        """What to raise when the file holds fewer or more bytes of values than its header says."""
        word = "truncated" if held < self.num_rows * self.row_bytes else "longer than its header says"
        why = f"{word}: {held} bytes for {self.num_rows} rows of {self.row_bytes}"
        return DataError(self.path, None, why, fix="download it again")

    def blocks(self, rows: int, first: int = 0, end: int | None = None) -> Iterator[np.ndarray[Any, Any]]:
        """Yield the values of at most `rows` rows at a time; the arrays cannot be written to.

        Args:
            rows: Number of rows of a block.
            first: Number of the first row.
            end: The row to end before; None: all are read, and nothing may follow them.
        """
        last = self.num_rows if end is None else end
        with open_raw(self.path) as stream:
            stream.seek(self.header_bytes + first * self.row_bytes)
            done = first
            while done < last:
                wanted = min(rows, last - done)
                values = stream.read(wanted * self.row_bytes)
                if len(values) < wanted * self.row_bytes:
                    raise self.wrong_size(done * self.row_bytes + len(values))
                yield np.frombuffer(values, np.uint8).reshape(wanted, *self.shape[1:])
                done += wanted
            if last == self.num_rows and stream.read(1):
                raise self.wrong_size(self.num_rows * self.row_bytes + 1)

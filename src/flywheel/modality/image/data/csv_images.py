"""Reads pictures that lie as rows of pixel values in a CSV file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.modality.image.data.frame import image_frame, rows_per_chunk
from flywheel.project.errors import ConfigError, DataError, nearest
from flywheel.project.types import Reader, Split, Splits
from flywheel.reader.format.raw_file import open_raw, require_file
from flywheel.reader.format.table import csv_chunks

PARSED_BYTES = 8  # pandas holds each value as a 64-bit number


@dataclass(frozen=True)
class CsvImageReader(Reader):
    """One row a picture: its pixels row by row (the channels of a pixel together), and its label.

    Attributes:
        path: File under the raw folder, plain or gzipped.
        label_column: Name of the label's column, or its number (negative: from the end).
        image_size: [height, width].
        header: Whether the first line names the columns.
        channels: 1, or 3 for colour.
        max_value: The largest value a pixel can have; values are scaled so that it becomes 255.
        classes: Name of each label, in the order of its number; None: the label is its own name.
        test_path: The official test split; None: there is none.
    """

    path: str
    label_column: str | int
    image_size: Sequence[int]
    header: bool
    channels: int = 1
    max_value: float = 255
    classes: Sequence[str] | None = None
    test_path: str | None = None

    def __post_init__(self) -> None:
        """Refuse sizes and ranges that cannot be."""
        where = "data.reader.read"
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise ConfigError(f"image_size {self.image_size} is not [height, width]", where=where)
        if self.channels not in (1, 3) or self.max_value <= 0:
            raise ConfigError("channels must be 1 or 3, and max_value above 0", where=where)
        if isinstance(self.label_column, str) and not self.header:
            what = f"label_column '{self.label_column}' is a name, but there is no header"
            raise ConfigError(what, where=where, fix="give the column's number")

    def read(self, raw_dir: Path) -> Splits:
        """Count the rows; pixels are read when a chunk is asked for.

        Raises:
            DataError: A file is missing, empty, or has not the columns that `image_size` calls for.
        """
        paths = {"train": self.path, "test": self.test_path}
        return {name: self._split(raw_dir / path) for name, path in paths.items() if path is not None}

    @property
    def num_pixels(self) -> int:
        """Pixel values of a row."""
        return self.image_size[0] * self.image_size[1] * self.channels

    def _split(self, path: Path) -> Split:
        num_rows = _count_lines(require_file(path)) - self.header
        first = next(csv_chunks(path, 1, header=self._header), None)
        if num_rows < 1 or first is None:
            raise DataError(path, None, "has no rows", fix="download it again")
        label = self._label_position(path, list(first.columns))

        def chunks(rows: int) -> Iterator[pd.DataFrame]:
            rows = rows_per_chunk(rows, PARSED_BYTES * len(first.columns))
            for frame in csv_chunks(path, rows, header=self._header):
                yield self._images(frame, label)

        return Split(num_rows, chunks, str(path))

    @property
    def _header(self) -> int | None:
        return 0 if self.header else None

    def _label_position(self, path: Path, columns: list[Any]) -> int:
        if len(columns) != self.num_pixels + 1:
            size = "x".join(map(str, [*self.image_size, self.channels]))
            why = f"has {len(columns)} columns, but {size} pixels and a label are {self.num_pixels + 1}"
            raise DataError(path, None, why, fix="fix image_size, channels or header in conf/data/")
        if isinstance(self.label_column, str):
            if self.label_column not in columns:
                fix = nearest(self.label_column, map(str, columns))
                raise DataError(path, None, f"no column '{self.label_column}'", fix=fix)
            return columns.index(self.label_column)
        if not -len(columns) <= self.label_column < len(columns):
            raise DataError(path, None, f"no column {self.label_column} among {len(columns)}")
        return self.label_column % len(columns)

    def _images(self, frame: pd.DataFrame, label: int) -> pd.DataFrame:
        pixels = frame.drop(columns=frame.columns[label])
        values, errors = self._values(pixels)
        shape = (*self.image_size, *([3] if self.channels == 3 else []))
        scaled = np.rint(values * (255 / self.max_value)).astype(np.uint8).reshape(len(frame), *shape)
        images = [None if error else image for image, error in zip(scaled, errors, strict=True)]
        labels = self._labels(frame.iloc[:, label], errors)
        return image_frame(images, labels.to_numpy(), int(frame.index[0]), errors)

    def _values(self, pixels: pd.DataFrame) -> tuple[np.ndarray[Any, Any], list[str | None]]:
        """The pixels as numbers (0 for a bad one), and for each row the first thing that is wrong with it."""
        errors: list[str | None] = [None] * len(pixels)
        numeric = all(dtype.kind in "iuf" for dtype in pixels.dtypes)
        numbers = pixels if numeric else pixels.apply(pd.to_numeric, errors="coerce")
        values = numbers.to_numpy(dtype=np.float64)
        bad = ~((values >= 0) & (values <= self.max_value))  # also true for NaN
        for row in np.flatnonzero(bad.any(axis=1)).tolist():
            column = int(bad[row].argmax())
            given: Any = pixels.iat[row, column]
            name = f"pixel column {column}"
            if pd.isna(given) or given == "":
                errors[row] = f"{name} is empty"
            elif np.isnan(values[row, column]):
                errors[row] = f"{name}: '{given}' is not a number"
            else:
                errors[row] = f"{name}: {values[row, column]:g} is outside 0..{self.max_value:g}"
        return np.where(bad, 0, values), errors

    def _labels(self, labels: pd.Series, errors: list[str | None]) -> pd.Series:
        if self.classes is None:
            return labels
        names = {str(number): name for number, name in enumerate(self.classes)}
        keys = [_plain_number(label) for label in labels]
        for row, key in enumerate(keys):
            if key is not None and key not in names and errors[row] is None:
                errors[row] = f"label {key} is not one of the {len(names)} classes"
        return pd.Series([names.get(key) if key is not None else None for key in keys], dtype=object)


def _plain_number(label: Any) -> str | None:
    """`3` for 3, 3.0 and '3': pandas makes floats of whole numbers when some are missing."""
    if pd.isna(label):
        return None
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _count_lines(path: Path) -> int:
    count, last = 0, b"\n"
    with open_raw(path) as stream:
        while block := stream.read(1 << 20):
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n")

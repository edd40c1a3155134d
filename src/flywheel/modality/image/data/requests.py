"""Reads the files with pictures that a user gives to `flywheel predict`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from flywheel.modality.image.data.file import IMAGE_EXTENSIONS
from flywheel.project.errors import DataError
from flywheel.reader.format.folder import request_files, request_frames
from flywheel.reader.format.raw_file import open_raw
from flywheel.reader.format.table import csv_chunks, parquet_chunks
from flywheel.reader.format.value import object_column

Shape = tuple[int, int, int]
ROWS = 4096
TABLES = (".npy", ".csv", ".parquet", ".pq")


def read_image_requests(paths: Sequence[Path], shape: Shape) -> pd.DataFrame:
    """Read every file into one frame: `image`, `file` (as given), `row` (within the file), and `label` if it has one.

    Args:
        paths: Picture files, folders of them, .npy ([N, H, W] or [N, H, W, 3]), .csv (a pixel a column, 0..255) or
            .parquet (`image`: encoded pictures or nested lists; or a pixel a column).
        shape: Height, width and channels that rows of pixels have.
    """

    def read(path: Path) -> pd.DataFrame:
        kind = ".jpg" if path.suffix.lower() in IMAGE_EXTENSIONS else path.suffix.lower()
        return _READERS[kind](path, shape)

    files = (file for given in paths for file in request_files(given, "pictures", IMAGE_EXTENSIONS, TABLES))
    return pd.concat(request_frames(files, read, "name picture files or a folder of them"), ignore_index=True)


def _picture(path: Path, shape: Shape) -> pd.DataFrame:
    return pd.DataFrame({"image": object_column([path.read_bytes()])})


def _npy(path: Path, shape: Shape) -> pd.DataFrame:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(path, None, f"is not a .npy file of numbers ({error})") from None
    if array.ndim == 2 or (array.ndim == 3 and shape[2] == 3 and array.shape[2] == 3):
        array = array[None]
    if array.ndim not in (3, 4):
        raise DataError(path, None, f"has shape {list(array.shape)}, not [N, H, W] or [N, H, W, 3]")
    return pd.DataFrame({"image": object_column(array)})


def _csv(path: Path, shape: Shape) -> pd.DataFrame:
    with open_raw(path) as stream:
        first = stream.readline().decode("utf-8", errors="replace").strip().split(",")
    header = None if all(map(_is_number, first)) else 0
    frames = [_pixel_rows(frame, path, shape) for frame in csv_chunks(path, ROWS, header=header)]
    if not frames:
        raise DataError(path, None, "has no rows")
    return pd.concat(frames, ignore_index=True)


def _parquet(path: Path, shape: Shape) -> pd.DataFrame:
    frames = [frame if "image" in frame else _pixel_rows(frame, path, shape) for frame in parquet_chunks(path, ROWS)]
    if not frames:
        raise DataError(path, None, "has no rows")
    frame = pd.concat(frames, ignore_index=True)
    return frame.drop(columns=[name for name in frame.columns if name not in ("image", "label")])


def _pixel_rows(frame: pd.DataFrame, path: Path, shape: Shape) -> pd.DataFrame:
    """Make pictures of rows of pixels."""
    height, width, channels = shape
    pixels = frame.drop(columns="label", errors="ignore")
    if pixels.shape[1] != height * width * channels:
        wanted = f"{height * width * channels} pixels of {height}x{width}x{channels}"
        fix = "give a pixel a column; a header may name one column `label`"
        raise DataError(path, None, f"has {pixels.shape[1]} columns, not the {wanted}", fix=fix)
    if any(dtype.kind not in "iuf" for dtype in pixels.dtypes):
        raise DataError(path, None, "holds pixels that are not numbers")
    size = (height, width) if channels == 1 else shape
    made = pd.DataFrame({"image": object_column(pixels.to_numpy().reshape(-1, *size))})
    if "label" in frame.columns:
        made["label"] = frame["label"].to_numpy()
    return made


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_READERS: dict[str, Callable[[Path, Shape], pd.DataFrame]] = {
    ".jpg": _picture, ".npy": _npy, ".csv": _csv, ".parquet": _parquet, ".pq": _parquet
}  # fmt: skip

"""Brings one picture, in whatever form it arrives, to [H, W] or [H, W, 3] of 8 or 16 bits, or says why it cannot."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flywheel.modality.image.data.file import ImageError, decode_image, open_image, over_white, to_array

_GREY_WEIGHTS = np.array([19595, 38470, 7471]) / 65536  # as Pillow has them, in 65,536ths


def as_pixels(value: Any, *, sixteen_bits: bool = False) -> np.ndarray[Any, Any]:
    """Accept an array, nested lists, an encoded picture (bytes, or base64 text), a Pillow image or a path.

    Args:
        value: A value of one of these types.
        sixteen_bits: Whether an array of uint16 is a picture of 16 bits a channel; else its levels are those of a byte.

    Returns:
        uint8 or, for a picture with 16 bits a channel, uint16: [H, W] or [H, W, 3].

    Raises:
        ImageError: It is none of these, or its pixels are not surely in 0..255.
    """
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        return _shaped(value)
    if sixteen_bits and isinstance(value, np.ndarray) and value.dtype.kind == "u" and value.dtype.itemsize == 2:
        return _shaped(value.astype(np.uint16))
    if isinstance(value, bytes | bytearray | memoryview):
        return decode_image(bytes(value))
    if isinstance(value, str):
        return decode_image(_from_base64(value))
    if isinstance(value, Image.Image):
        return to_array(value)
    if isinstance(value, Path):
        try:
            return decode_image(value.read_bytes())
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror or error}") from None
    if isinstance(value, np.ndarray | list | tuple):
        levels = _grey_levels(value) if isinstance(value, list) else None
        if levels is not None:
            return levels
        return _shaped(_bytes_of(_rectangular(value)))
    if value is None or (isinstance(value, float) and np.isnan(value)):
        raise ImageError("has no picture")
    raise ImageError(f"a {type(value).__name__} is not a picture")


def num_pixels(value: Any) -> int:
    """Number of pixels of a picture, from the header alone for an encoded one; 0: unknown."""
    try:
        if isinstance(value, bytes | str):
            with open_image(value if isinstance(value, bytes) else _from_base64(value)) as image:
                return int(image.width * image.height)
    except ImageError:
        return 0  # said when it is decoded
    if isinstance(value, np.ndarray):
        return int(value.size)
    return sum(len(row) if isinstance(row, list) else 1 for row in value) if isinstance(value, list) else 0


def to_grey(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Weigh the channels as ITU-R 601 does."""
    if pixels.dtype == np.uint16:
        grey: np.ndarray[Any, Any] = np.rint(pixels @ _GREY_WEIGHTS)
        return grey.astype(np.uint16)
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))


def to_colour(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Repeat the one channel."""
    return np.repeat(pixels[:, :, None], 3, axis=2)


def resize(pixels: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Resize to [height, width], bilinear with anti-aliasing."""
    if pixels.dtype == np.uint16:
        channels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        parts = [_resized(channels[:, :, place].astype(np.float32), size) for place in range(channels.shape[2])]
        resized: np.ndarray[Any, Any] = np.rint(np.stack(parts, axis=-1)).astype(np.uint16)
        return resized.reshape(*size, *pixels.shape[2:])
    return _resized(pixels, size)


def _resized(pixels: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _from_base64(text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ImageError("a text is not a picture unless it is base64") from None


def _grey_levels(rows: list[Any]) -> np.ndarray[Any, Any] | None:
    """Read lists of whole numbers in 0..255, as JSON gives a grey picture, in a third of the time that numpy takes.

    None: it is something else, or wrong; `_rectangular` and `_bytes_of` tell what, and read what else can be read.
    """
    if not rows or not all(type(row) is list and len(row) == len(rows[0]) for row in rows) or not rows[0]:
        return None
    if type(rows[0][0]) is not int:  # a picture of nothing but true and false is none
        return None
    try:
        return np.frombuffer(b"".join(map(bytes, rows)), np.uint8).reshape(len(rows), -1)
    except (TypeError, ValueError):
        return None


def _rectangular(value: Any) -> np.ndarray[Any, Any]:
    """Make one array of nested lists, or of arrays of arrays, as Parquet gives them."""
    try:
        if isinstance(value, np.ndarray) and value.dtype != object:
            return value
        array = np.array([_rectangular(row) if isinstance(row, np.ndarray | list | tuple) else row for row in value])
    except ImageError:
        raise
    except ValueError:
        raise ImageError("has rows of different lengths") from None
    if array.dtype == object or array.dtype.kind not in "iufb":
        raise ImageError("holds values that are not numbers")
    return array


def _bytes_of(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Convert to uint8 where that loses and guesses nothing."""
    kind = array.dtype.kind
    if kind == "b":
        raise ImageError("holds true and false; give 0..255 as uint8")
    if kind not in "iuf":
        raise ImageError(f"has dtype {array.dtype}; give 0..255 as uint8")
    if array.size == 0:
        raise ImageError("has no pixels")
    if kind == "f" and not np.isfinite(array).all():
        raise ImageError("holds NaN or infinite pixels")
    low, high = array.min(), array.max()
    if low < 0 or high > 255:
        raise ImageError(f"has pixels in {low:g}..{high:g}, outside 0..255")
    if kind == "f" and 0 < high <= 1:
        raise ImageError(f"has {array.dtype} pixels in 0..1, which may mean 0..1 or 0..255; give 0..255 as uint8")
    if kind == "f" and (array != np.floor(array)).any():
        raise ImageError(f"has {array.dtype} pixels with fractions; give whole numbers in 0..255 as uint8")
    return array.astype(np.uint8)


def _shaped(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shape = array.shape
    if len(shape) == 3 and shape[2] == 1:
        return _shaped(array[:, :, 0])
    if 0 in shape:
        raise ImageError("has no pixels")
    if len(shape) == 2 or (len(shape) == 3 and shape[2] == 3):
        return array
    if len(shape) == 3 and shape[2] == 4:
        if array.dtype == np.uint16:
            return over_white(array[:, :, :3], array[:, :, 3])
        return to_array(Image.fromarray(np.ascontiguousarray(array), mode=None))
    if len(shape) == 3 and shape[0] in (1, 3):
        raise ImageError(f"has shape {list(shape)}, channels first; give [height, width] or [height, width, 3]")
    raise ImageError(f"has shape {list(shape)}, not [height, width] or [height, width, 3]")

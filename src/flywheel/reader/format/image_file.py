"""Decodes an encoded picture (PNG, JPEG, BMP, GIF, WebP) into an array; nothing else lets Pillow read bytes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
"""The only decoders that bytes may reach. Pillow has forty more, whatever the file is called: the one for EPS starts
Ghostscript, and few of the others are looked after."""

MAX_PIXELS = 64_000_000
"""Larger pictures are refused: a file of a few kilobytes can unpack to gigabytes."""

# What Pillow's decoders raise on bytes that are no picture, or half of one.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error,
    zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


class ImageError(ValueError):
    """Why a value cannot be a picture, in words that fit after `row 3: `."""


@contextmanager
def open_image(encoded: bytes) -> Iterator[ImageFile.ImageFile]:
    """Open a picture for the block, which may read its header or its pixels.

    Raises:
        ImageError: The bytes are no picture of one of `IMAGE_FORMATS`, are truncated, or hold too many pixels; also for
            what goes wrong in the block.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=IMAGE_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"has {image.width}x{image.height} pixels, more than {MAX_PIXELS}")
            yield image
    except UnidentifiedImageError:
        why = "is no picture that can be read (PNG, JPEG, BMP, GIF or WebP)"
        raise ImageError(why if encoded else "is empty") from None
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"has more than {MAX_PIXELS} pixels") from None
    except _BROKEN as error:
        raise ImageError(f"is a corrupt picture ({error})".replace("\n", " ")) from None


def decode_image(encoded: bytes) -> np.ndarray[Any, Any]:
    """Decode a picture: uint8, [H, W] if it is grey, else [H, W, 3].

    The first frame of an animation counts, EXIF rotation is applied, transparency becomes white, and 16-bit
    grey is scaled to 8 bits.

    Raises:
        ImageError: As `open_image`.
    """
    with open_image(encoded) as image:
        return to_array(image)


def to_array(image: Image.Image) -> np.ndarray[Any, Any]:
    """Turn an opened picture into uint8, [H, W] or [H, W, 3].

    Raises:
        ImageError: It has too many pixels, or pixels of a kind that has no fixed range.
    """
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"has {image.width}x{image.height} pixels, more than {MAX_PIXELS}")
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F"):
        raise ImageError(f"has 32-bit pixels (mode {image.mode}), whose range is not known")
    if image.mode.startswith("I;16"):
        return np.rint(np.asarray(image, dtype=np.float64) / 257).astype(np.uint8)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if image.mode in ("LA", "La") or (image.mode == "L" and "transparency" in image.info):
        return np.asarray(_on_white(image).convert("L"))
    if image.has_transparency_data:
        return np.asarray(_on_white(image))
    return np.asarray(image.convert("RGB"))


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")

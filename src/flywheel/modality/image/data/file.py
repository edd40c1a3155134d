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

Array = np.ndarray[Any, Any]

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
"""The only decoders that bytes may reach. Pillow has forty more, whatever the file is called: the one for EPS starts
Ghostscript, and few of the others are looked after."""

MAX_PIXELS = 64_000_000
"""Larger pictures are refused: a file of a few kilobytes can unpack to gigabytes."""

WHITE_16 = 65535

# What Pillow's decoders raise on bytes that are not a picture, or half of one.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error,
    zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip

_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH, _COLOUR_TYPE = 24, 25  # places in a PNG's header, which always comes first
_GREY, _GREY_ALPHA, _COLOUR = 0, 4, (2, 6)


class ImageError(ValueError):
    """Why a value cannot be a picture, in words that fit after `row 3: `."""


@contextmanager
def open_image(encoded: bytes) -> Iterator[ImageFile.ImageFile]:
    """Open a picture for the block, which may read its header or its pixels.

    Raises:
        ImageError: The bytes are not a picture of one of `IMAGE_FORMATS`, are truncated, or hold too many pixels; also
            any error in the block.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=IMAGE_FORMATS) as image:
            _check_size(image)
            yield image
    except UnidentifiedImageError:
        why = "is not a readable picture (PNG, JPEG, BMP, GIF or WebP)"
        raise ImageError(why if encoded else "is empty") from None
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"has more than {MAX_PIXELS} pixels") from None
    except _BROKEN as error:
        raise ImageError(f"is a corrupt picture ({error})".replace("\n", " ")) from None


def decode_image(encoded: bytes) -> Array:
    """Decode a picture: [H, W] if it is grey, else [H, W, 3]; uint8, or uint16 where a PNG has 16 bits a channel.

    The first frame of an animation counts, EXIF rotation is applied, and transparency becomes white.

    Raises:
        ImageError: As `open_image`.
    """
    with open_image(encoded) as image:
        if not encoded.startswith(_PNG):
            return to_array(image)
        depth, kind = encoded[_DEPTH], encoded[_COLOUR_TYPE]
        if depth == 16:
            return _sixteen_bits(encoded, image, kind)
        if kind == _GREY and "transparency" in image.info:  # Pillow brings the pixels to 8 bits, but not this level
            image.info["transparency"] = image.info["transparency"] * 255 // (2**depth - 1)
        return to_array(image)


def to_array(image: Image.Image) -> Array:
    """Turn an opened picture into [H, W] or [H, W, 3], uint8, or uint16 where it is grey with 16 bits.

    Raises:
        ImageError: It has too many pixels, or pixels of a kind that has no fixed range.
    """
    _check_size(image)
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F"):
        raise ImageError(f"has 32-bit pixels (mode {image.mode}), whose range is not known")
    if image.mode.startswith("I;16"):
        return _clear(np.asarray(image).astype(np.uint16)[:, :, None], image.info.get("transparency"))[:, :, 0]
    grey = image.mode in ("1", "L", "LA", "La") or (image.mode in ("P", "PA") and _grey_palette(image))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.asarray(image.convert("L" if grey else "RGB"))


def over_white(values: Array, alpha: Array) -> Array:
    """Lay pixels over white.

    Args:
        values: uint16 [H, W, C].
        alpha: Opacity, 0 to 65535: uint16 [H, W].

    Returns:
        uint16 [H, W, C].
    """
    share = alpha[:, :, None] / WHITE_16
    return np.rint(values * share + WHITE_16 * (1 - share)).astype(np.uint16)


def _sixteen_bits(encoded: bytes, image: ImageFile.ImageFile, kind: int) -> Array:
    """Decode a PNG of 16 bits a channel; of several channels Pillow itself would keep the high byte of each only."""
    clear = image.info.get("transparency")
    if kind == _GREY:
        values = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)[:, :, None]
    elif kind == _GREY_ALPHA:  # four bytes a pixel, as in RGBA of 8 bits
        packed = _unpacked(image, "RGBA")
        values = _joined(packed[:, :, 0::2], packed[:, :, 1::2])
    elif kind in _COLOUR:
        high = _unpacked(image, f"{image.mode};16B")
        with open_image(encoded) as again:
            values = _joined(high, _unpacked(again, f"{again.mode};16L"))  # in the other order: the low bytes
    else:
        raise ImageError(f"is a corrupt picture (PNG of 16 bits and colour type {kind})")
    if values.shape[2] in (2, 4):
        values = over_white(values[:, :, :-1], values[:, :, -1])
    values = _clear(values, clear)
    return values[:, :, 0] if values.shape[2] == 1 else values


def _unpacked(image: ImageFile.ImageFile, raw_mode: str) -> Array:
    """Decode as if the file's pixels were laid out in another way: uint8 [H, W, C], rotated as EXIF says."""
    image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
    return np.asarray(ImageOps.exif_transpose(image))


def _joined(high: Array, low: Array) -> Array:
    return high.astype(np.uint16) << 8 | low


def _clear(values: Array, level: Any) -> Array:
    """Make white what has the one level, or colour, that counts as transparent; None: nothing has."""
    if level is None:
        return values
    is_clear = (values == np.asarray(level)).all(axis=2)
    return np.where(is_clear[:, :, None], np.uint16(WHITE_16), values)


def _grey_palette(image: Image.Image) -> bool:
    """Whether all colours of a palette are greys."""
    colours = np.asarray(image.getpalette("RGB")).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"has {image.width}x{image.height} pixels, more than {MAX_PIXELS}")

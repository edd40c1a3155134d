from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flywheel.modality.image.data import file as image_file
from flywheel.modality.image.data.file import ImageError, decode_image

GREY = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
COLOUR = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 10


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_grey_stays_grey(kind: str) -> None:
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(GREY), kind)), GREY)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_colour_stays_colour(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(COLOUR), kind, **options)), COLOUR)


def test_other_formats_than_the_five_reach_no_decoder(unpromised: bytes, called_gs: Callable[[], str]) -> None:
    with pytest.raises(ImageError, match=r"is not a readable picture \(PNG, JPEG, BMP, GIF or WebP\)"):
        decode_image(unpromised)
    assert called_gs() == ""


def test_transparency_becomes_white() -> None:
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 0))
    image.putpixel((1, 0), (10, 20, 30, 255))
    assert decode_image(encoded(image)).tolist() == [[[255, 255, 255], [10, 20, 30]]]
    assert decode_image(encoded(Image.new("LA", (1, 1), (7, 0)))).tolist() == [[255]]


def test_sixteen_bits_are_kept() -> None:
    pixels = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    decoded = decode_image(encoded(Image.fromarray(pixels)))
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, pixels)


def test_palette_and_black_and_white_are_converted() -> None:
    palette = Image.fromarray(COLOUR).convert("P")
    np.testing.assert_array_equal(decode_image(encoded(palette)), np.asarray(palette.convert("RGB")))
    assert decode_image(encoded(Image.new("1", (1, 1), 1))).tolist() == [[255]]


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    image = Image.fromarray(np.repeat(np.repeat(GREY, 8, 0), 8, 1))
    assert decode_image(encoded(image, "JPEG", exif=exif)).shape == (24, 16)


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_file, "MAX_PIXELS", 5)
    with pytest.raises(ImageError, match="has 3x2 pixels, more than 5"):
        decode_image(encoded(Image.fromarray(GREY)))


def test_a_bomb_is_refused_whatever_pillow_thinks_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(ImageError, match="has more than"):
        decode_image(encoded(Image.fromarray(GREY)))


def test_every_truncation_and_every_flipped_byte_is_an_image_error_or_a_picture() -> None:
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        whole = encoded(Image.fromarray(COLOUR), kind)
        for length in range(0, len(whole), 3):
            damaged = [whole[:length], whole[:length] + bytes([whole[length] ^ 0x55]) + whole[length + 1 :]]
            for content in damaged:
                with contextlib.suppress(ImageError):
                    assert decode_image(content).dtype == np.uint8

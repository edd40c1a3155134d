"""Every way to store a picture, beside its plain twin: the network sees the same, in training and in requests."""

from __future__ import annotations

import base64
import io
import logging
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flywheel.modality.image.data.folder import ImageFolderReader
from flywheel.modality.image.data.preprocessor import ImagePreprocessor

Array = np.ndarray[Any, Any]

SIDE = 16
X, Y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
GREY = (X * 16 + Y).astype(np.uint8)  # no symmetry, so that every turn shows
COLOUR = np.stack([X * 16, Y * 16, 255 - X * 8 - Y * 4], axis=-1).astype(np.uint8)
CLEAR = (X + Y) % 5 == 0  # what is transparent
STEPS = (X // 4 * 5).astype(np.uint8)  # four levels: 0, 5, 10, 15


def on_white(pixels: Array) -> Array:
    return np.where(CLEAR if pixels.ndim == 2 else CLEAR[:, :, None], np.uint8(255), pixels)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(rows: list[bytes], depth: int, colour_type: int, **chunks: bytes) -> bytes:
    """A PNG as the standard has it, of kinds that Pillow does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", SIDE, len(rows), depth, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *(chunk(name.encode(), content) for name, content in chunks.items())]
    parts += [chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deep(pixels: Array, colour_type: int, **chunks: bytes) -> bytes:
    """A PNG of 16 bits a channel."""
    return png([row.astype(">u2").tobytes() for row in pixels], 16, colour_type, **chunks)


def packed(levels: Array, bits: int) -> list[bytes]:
    """Rows of small numbers, several in a byte."""
    binary = (levels[:, :, None] >> np.arange(bits)[::-1]) & 1
    return [row.tobytes() for row in np.packbits(binary.reshape(SIDE, -1).astype(np.uint8), axis=1)]


def with_alpha(pixels: Array, white: int = 255) -> Array:
    alpha = np.where(CLEAR, 0, white).astype(pixels.dtype)
    return np.concatenate([pixels.reshape(SIDE, SIDE, -1), alpha[:, :, None]], axis=2)


def palette(indexes: Array, colours: Array) -> Image.Image:
    image = Image.frombytes("P", (SIDE, SIDE), indexes.astype(np.uint8).tobytes())
    image.putpalette(colours.astype(np.uint8).tobytes())
    return image


TURNS = {
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: lambda a: np.rot90(a, -1),
}  # fmt: skip
"""How upright pixels lie in a file of each EXIF orientation."""


def turned(orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    lying = Image.fromarray(np.ascontiguousarray(TURNS[orientation](COLOUR)))
    return saved(lying, kind, exif=exif.tobytes(), **options)


def turned_deep(orientation: int, pixels: Array, colour_type: int) -> bytes:
    exif = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return deep(np.ascontiguousarray(TURNS[orientation](pixels)), colour_type, eXIf=exif)


_USED, _WHERE = np.unique(COLOUR.reshape(-1, 3), axis=0, return_inverse=True)
_INDEXES = _WHERE.reshape(SIDE, SIDE)  # of 256 colours
_FEW = COLOUR[::4, ::4].reshape(-1, 3)  # 16 colours
_FEW_INDEXES = X // 4 + Y // 4 * 4
_CLEARED = np.where(CLEAR, 16, _FEW_INDEXES)
_GREYS = np.repeat(np.arange(256)[:, None], 3, axis=1)

GREY_TWINS = {
    "LA": (saved(Image.fromarray(with_alpha(GREY), "LA")), on_white(GREY)),
    "L with a transparent level": (saved(Image.fromarray(GREY), transparency=77), np.where(GREY == 77, 255, GREY)),
    "L, half transparent": (
        saved(Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (SIDE, SIDE), 51)])),
        np.rint(GREY * 0.2 + 255 * 0.8),
    ),
    "1 bit": (saved(Image.fromarray(STEPS > 7)), np.where(STEPS > 7, 255, 0)),
    "1 bit, black transparent": (png(packed(STEPS // 10, 1), 1, 0, tRNS=b"\0\0"), np.full((SIDE, SIDE), 255)),
    "1 bit BMP": (saved(Image.fromarray(STEPS > 7), "BMP"), np.where(STEPS > 7, 255, 0)),
    "2 bits": (png(packed(STEPS // 5, 2), 2, 0), STEPS * 17),
    "2 bits with a transparent level": (
        png(packed(STEPS // 5, 2), 2, 0, tRNS=b"\0\2"), np.where(STEPS == 10, 255, STEPS * 17),
    ),
    "4 bits": (png(packed(STEPS, 4), 4, 0), STEPS * 17),
    "palette of greys": (saved(palette(GREY, _GREYS)), GREY),
    "inverted palette of greys": (saved(palette(255 - GREY, _GREYS[::-1])), GREY),
    "inverted BMP": (saved(palette(255 - GREY, _GREYS[::-1]), "BMP"), GREY),
    "inverted 1 bit": (saved(palette(STEPS <= 7, _GREYS[[255, 0]]), "BMP"), np.where(STEPS <= 7, 0, 255)),
    "GIF": (saved(Image.fromarray(GREY), "GIF"), GREY),
    "GIF with a transparent level": (
        saved(Image.fromarray(GREY), "GIF", transparency=77), np.where(GREY == 77, 255, GREY),
    ),
    "16 bits": (deep(GREY * np.uint16(257), 0), GREY),
    "16 bits with a transparent level": (
        deep(GREY * np.uint16(257), 0, tRNS=struct.pack(">H", 77 * 257)), np.where(GREY == 77, 255, GREY),
    ),
    "16 bits with alpha": (deep(with_alpha(GREY * np.uint16(257), 65535), 4), on_white(GREY)),
    **{f"16 bits, turned {turn}": (turned_deep(turn, GREY * np.uint16(257), 0), GREY) for turn in TURNS},
    "16 bits with alpha, turned 6": (turned_deep(6, with_alpha(GREY * np.uint16(257), 65535), 4), on_white(GREY)),
}  # fmt: skip
COLOUR_TWINS = {
    "RGBA": (saved(Image.fromarray(with_alpha(COLOUR))), on_white(COLOUR)),
    "RGBA of WebP": (saved(Image.fromarray(with_alpha(COLOUR)), "WEBP", lossless=True, exact=True), on_white(COLOUR)),
    "RGB with a transparent colour": (
        saved(Image.fromarray(COLOUR), transparency=tuple(map(int, COLOUR[2, 3]))),
        np.where((COLOUR[2, 3] == COLOUR).all(-1, keepdims=True), 255, COLOUR),
    ),
    "palette": (saved(palette(_INDEXES, _USED)), COLOUR),
    "palette of 4 bits": (saved(palette(_FEW_INDEXES, _FEW), bits=4), _FEW[_FEW_INDEXES]),
    "palette with a transparent colour": (
        saved(palette(_CLEARED, np.vstack([_FEW, [[1, 2, 3]]])), transparency=16), on_white(_FEW[_FEW_INDEXES]),
    ),
    "palette with an alpha for each colour": (
        saved(palette(_CLEARED, np.vstack([_FEW, [[1, 2, 3]]])), transparency=b"\xff" * 16 + b"\0"),
        on_white(_FEW[_FEW_INDEXES]),
    ),
    "GIF with a transparent colour": (
        saved(palette(_CLEARED, np.vstack([_FEW, [[1, 2, 3]]])), "GIF", transparency=16), on_white(_FEW[_FEW_INDEXES]),
    ),
    "palette of a BMP": (saved(palette(_INDEXES, _USED), "BMP"), COLOUR),
    **{f"{kind}, turned {turn}": (turned(turn, kind), COLOUR) for kind in ("PNG", "WEBP") for turn in TURNS},
    "16 bits": (deep(COLOUR * np.uint16(257), 2), COLOUR),
    "16 bits with alpha": (deep(with_alpha(COLOUR * np.uint16(257), 65535), 6), on_white(COLOUR)),
    "16 bits with a transparent colour": (
        deep(COLOUR * np.uint16(257), 2, tRNS=(COLOUR[2, 3] * np.uint16(257)).astype(">u2").tobytes()),
        np.where((COLOUR[2, 3] == COLOUR).all(-1, keepdims=True), 255, COLOUR),
    ),
    **{f"16 bits, turned {turn}": (turned_deep(turn, COLOUR * np.uint16(257), 2), COLOUR) for turn in (3, 6, 8)},
}  # fmt: skip
CASES = [pytest.param(content, twin, id=f"{kind}: {name}") for kind, twins in
         (("grey", GREY_TWINS), ("colour", COLOUR_TWINS)) for name, (content, twin) in twins.items()]  # fmt: skip


def trained(folder: Path, *contents: bytes, **settings: Any) -> tuple[ImagePreprocessor, Array]:
    """Preprocess files as the stage does, and give what the network sees of each in training."""
    (folder / "train/class").mkdir(parents=True)
    for number, content in enumerate(contents):
        (folder / f"train/class/{number}.png").write_bytes(content)
    split = ImageFolderReader(test=None).read(folder)["train"]
    made = ImagePreprocessor(**settings)
    for frame in split.chunks(1):
        kept, dropped = made.clean(frame)
        assert not dropped
        made.digest(kept)
    made.fit(list(split.chunks(1)))
    rebuilt = ImagePreprocessor.from_json(made.to_json())
    return rebuilt, np.concatenate([made.transform(made.clean(frame)[0])["image"] for frame in split.chunks(1)])


def asked(made: ImagePreprocessor, folder: Path, content: bytes) -> list[Array]:
    """What the network sees of a picture in a request: as a file, as bytes of an upload, as base64."""
    (folder / "asked.png").write_bytes(content)
    frames = [made.read_requests([folder / "asked.png"])]
    frames += [pd.DataFrame({"image": [value]}) for value in (content, base64.b64encode(content).decode())]
    return [made.transform(frame)["image"][0] for frame in frames]


@pytest.mark.parametrize(("content", "twin"), CASES)
def test_a_picture_is_what_its_plain_twin_is(content: bytes, twin: Array, tmp_path: Path) -> None:
    twin = twin.astype(np.uint8)
    made, (stored, plain) = trained(tmp_path, content, saved(Image.fromarray(twin)))
    np.testing.assert_array_equal(plain, twin[None] if twin.ndim == 2 else twin.transpose(2, 0, 1))
    np.testing.assert_array_equal(stored, plain)
    for seen in asked(made, tmp_path, content):
        np.testing.assert_array_equal(seen, stored)


@pytest.mark.parametrize("turn", TURNS)
def test_a_jpeg_is_nearly_what_its_plain_twin_is(turn: int, tmp_path: Path) -> None:
    smooth = np.stack([X * 8 + 60, Y * 8 + 40, 200 - X * 4 - Y * 4], axis=-1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = turn
    lying = Image.fromarray(np.ascontiguousarray(TURNS[turn](smooth)))
    contents = [saved(lying.convert(mode), "JPEG", quality=100, subsampling=0, exif=exif) for mode in ("RGB", "CMYK")]
    made, seen = trained(tmp_path, *contents)
    assert np.abs(seen.astype(int) - smooth.transpose(2, 0, 1)).max() <= 6
    for content, stored in zip(contents, seen, strict=True):
        for one in asked(made, tmp_path, content):
            np.testing.assert_array_equal(one, stored)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("colour_type", [0, 2])
def test_few_bits_in_sixteen_are_all_used(bits: int, colour_type: int, tmp_path: Path) -> None:
    twin = GREY if colour_type == 0 else COLOUR
    content = deep(np.rint(twin * ((2**bits - 1) / 255)).astype(np.uint16), colour_type)
    made, (seen,) = trained(tmp_path, content)
    np.testing.assert_array_equal(seen, twin[None] if colour_type == 0 else twin.transpose(2, 0, 1))
    assert made.to_json()["fitted"]["sixteen_bit_range"] == [0, 2**bits - 1]
    for one in asked(made, tmp_path, content):
        np.testing.assert_array_equal(one, seen)


def test_a_narrow_band_of_levels_is_spread_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What a detector gives that never sees black: 1932 to 2187 of 4096 levels."""
    pixels = GREY.astype(np.uint16) + 1932
    logger = logging.getLogger("flywheel")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level("INFO", "flywheel"):
            made, (seen,) = trained(tmp_path, deep(pixels, 0))
    finally:
        logger.removeHandler(caplog.handler)
    np.testing.assert_array_equal(seen[0], GREY)
    said = "16-bit pictures: 1932..2187 become 0..255 (learnt; train has pixels of 1932..2187, of which 256 levels"
    assert said in caplog.text
    assert asked(made, tmp_path, deep(np.full((SIDE, SIDE), 5000, np.uint16), 0))[0].min() == 255


def test_a_stated_range_is_used_and_a_wrong_one_refused(tmp_path: Path) -> None:
    made, (seen,) = trained(tmp_path, deep(GREY.astype(np.uint16), 0), sixteen_bit_range=[0, 510])
    np.testing.assert_array_equal(seen[0], np.rint(GREY / 2).astype(np.uint8))
    assert made.to_json()["sixteen_bit_range"] == [0, 510]
    for wrong in ([0], [4, 4], [-1, 5], [0, 65536]):
        with pytest.raises(ValueError, match=r"is not \[black, white\], two levels in 0..65535"):
            ImagePreprocessor(sixteen_bit_range=wrong)


def test_what_was_learnt_is_a_fact_and_one_hot_pixel_changes_nothing(tmp_path: Path) -> None:
    pixels = np.tile(GREY.astype(np.uint16) << 4, (8, 8))[:, :16]
    many = [pixels[start : start + SIDE] for start in range(0, 128, SIDE)] * 6  # 12,288 pixels
    many[3] = many[3].copy()
    many[3][2, 3] = 65535
    (tmp_path / "train/class").mkdir(parents=True)
    for number, one in enumerate(many):
        (tmp_path / f"train/class/{number}.png").write_bytes(deep(one, 0))
    made = ImagePreprocessor()
    made.fit(list(ImageFolderReader(test=None).read(tmp_path)["train"].chunks(100)))
    assert made.facts() == {
        "sixteen_bit_range": [0, 4095], "sixteen_bit_pixels": [0, 65535], "sixteen_bit_levels_kept": 256
    }  # fmt: skip


def test_arrays_of_16_bits_are_read_as_the_pictures_of_train_were(tmp_path: Path, png: Callable[[Any], bytes]) -> None:
    levels = GREY.astype(np.uint16) << 4
    made, (seen,) = trained(tmp_path, deep(levels, 0))
    for dtype in ("<u2", ">u2"):
        np.save(tmp_path / "asked.npy", levels.astype(dtype))
        np.testing.assert_array_equal(made.transform(made.read_requests([tmp_path / "asked.npy"]))["image"][0], seen)
    # Trained with bytes, nothing says what 16 bits mean: the levels of a byte, or too large.
    (tmp_path / "plain").mkdir()
    made, _ = trained(tmp_path / "plain", png(GREY))
    np.save(tmp_path / "asked.npy", GREY.astype(np.uint16))
    np.testing.assert_array_equal(made.transform(made.read_requests([tmp_path / "asked.npy"]))["image"][0, 0], GREY)


def test_pictures_of_16_bits_are_resized_and_made_grey_as_plain_ones(tmp_path: Path) -> None:
    contents = [saved(Image.fromarray(COLOUR)), deep(COLOUR * np.uint16(257), 2)]
    _, (plain, seen) = trained(tmp_path, *contents, image_size=[7, 5], channels=1)
    assert np.abs(plain.astype(int) - seen).max() <= 1

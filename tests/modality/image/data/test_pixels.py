from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flywheel.modality.image.data.file import ImageError
from flywheel.modality.image.data.pixels import as_pixels, resize

GREY = np.array([[0, 50, 255], [1, 2, 3]], dtype=np.uint8)


@pytest.mark.parametrize(
    "value",
    [
        GREY,
        GREY.astype(np.int64),
        GREY.astype(np.float32),
        GREY[:, :, None],
        GREY.tolist(),
        [list(map(float, row)) for row in GREY.tolist()],
        tuple(map(tuple, GREY.tolist())),
        np.array([*GREY, None], dtype=object)[:2],
        Image.fromarray(GREY),
        GREY[::-1][::-1],
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_form_gives_the_same_pixels(value: Any) -> None:
    pixels = as_pixels(value)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, GREY)


def test_encoded_forms_give_the_same_pixels(png: Callable[[Any], bytes], tmp_path: Path) -> None:
    encoded = png(GREY)
    (tmp_path / "a.png").write_bytes(encoded)
    text = base64.b64encode(encoded).decode()
    forms = [encoded, bytearray(encoded), memoryview(encoded), text, f"data:image/png;base64,{text}"]
    for value in [*forms, tmp_path / "a.png"]:
        np.testing.assert_array_equal(as_pixels(value), GREY)


def test_alpha_channel_becomes_white() -> None:
    pixels = np.zeros((1, 2, 4), dtype=np.uint8)
    pixels[0, 1, 3] = 255
    assert as_pixels(pixels).tolist() == [[[255, 255, 255], [0, 0, 0]]]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (GREY / 255, "pixels in 0..1, which may mean 0..1 or 0..255; give 0..255 as uint8"),
        (np.array([[0.0, 1.0]]), "pixels in 0..1"),
        (np.array([[0.5, 200.0]]), "with fractions"),
        (np.array([[0, 256]]), r"pixels in 0..256, outside 0..255"),
        (np.array([[-1, 5]]), r"pixels in -1..5"),
        (np.array([[np.nan, 5]]), "NaN or infinite"),
        (np.array([[True, False]]), "true and false"),
        (np.array([[1j]]), "not numbers|dtype complex"),
        ([["a", "b"]], "not numbers"),
        ([[1, 2], [3]], "rows of different lengths"),
        (np.zeros((3, 8, 8), np.uint8), "channels first"),
        (np.zeros((5,), np.uint8), r"has shape \[5\]"),
        (np.zeros((8, 8, 2), np.uint8), r"has shape \[8, 8, 2\]"),
        (np.zeros((0, 8), np.uint8), "no pixels"),
        ([], "not numbers|no pixels"),
        (None, "has no picture"),
        (float("nan"), "has no picture"),
        (7, "a int is not a picture"),
        ([[True, False], [False, True]], "true and false"),
        ([[1, 2], [3, 256]], r"pixels in 1..256, outside 0..255"),
        ([[1, -2], [3, 25]], r"pixels in -2..25"),
        ([[1, 2], [3, "4"]], "not numbers"),
        ([[1, 2], 2], "different lengths"),
        ([[], []], "no pixels"),
        ("hello!", "base64"),
        (b"hello", "not a readable picture"),
        (Path("/nowhere.png"), "cannot be read: No such file"),
    ],
)
def test_what_is_no_picture_says_why(value: Any, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        as_pixels(value)


def test_black_floats_are_black() -> None:
    assert not as_pixels(np.zeros((2, 2))).any()


def test_resize_averages_when_it_shrinks() -> None:
    checks = np.indices((8, 8)).sum(0) % 2 * 200
    small = resize(checks.astype(np.uint8), (2, 3))
    assert small.shape == (2, 3)
    assert abs(small.astype(int) - 100).max() <= 25

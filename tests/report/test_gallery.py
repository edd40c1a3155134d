from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from flywheel.project.types import Preview
from flywheel.report.base import Card
from flywheel.report.gallery import COLUMNS, gallery_picture, image_uri


def decoded(uri: str) -> Image.Image:
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_pictures_travel_inside_the_page() -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert (np.asarray(decoded(image_uri(grey))) == grey).all()
    assert decoded(image_uri(np.zeros((500, 1000, 3), np.uint8))).size == (224, 112)


def test_sheet_has_a_cell_for_each_card_whatever_it_shows() -> None:
    colour, grey = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    shown = [Preview(colour), Preview(grey), Preview(text="a long text " * 30), Preview()]
    cards = [Card(preview, f"a{k}\n→ b", "99.0% sure") for k, preview in enumerate(shown * 3)]
    picture = gallery_picture(cards)
    assert len(picture.figure.axes) == 2 * COLUMNS
    assert sum(bool(cell.get_title()) for cell in picture.figure.axes) == 12
    assert [len(cell.images) for cell in picture.figure.axes[:4]] == [1, 1, 0, 0]
    assert picture.alt.startswith("Worst mistakes: a0 → b (99.0% sure)")

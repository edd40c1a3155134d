"""Examples with what the model said about them, on the page and as one picture."""

from __future__ import annotations

import base64
import io
import textwrap
from typing import TYPE_CHECKING

from flywheel.report import style
from flywheel.report.base import Card, Picture
from flywheel.report.bootstrap import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 9
MAX_PIXELS = 224
MAX_TEXT = 400
SHARP_BELOW = 100
"""Pictures smaller than this are enlarged with sharp pixels: blurred, a 28x28 picture shows nothing."""


def gallery_picture(cards: list[Card]) -> Picture:
    """All cards on one sheet, for MLflow and for sending round."""
    columns = min(COLUMNS, max(1, len(cards)))
    rows = max(1, -(-len(cards) // columns))
    figure, axes = style.new_figure(1.25 * columns, 1.6 * rows, rows, columns)
    with style.styled():
        for place, cell in enumerate(axes):
            cell.set_axis_off()
            if place < len(cards):
                _cell(cell, cards[place])
    alt = "Worst mistakes: " + "; ".join(f"{' '.join(card.title.split())} ({card.detail})" for card in cards)
    return Picture("mistakes", "Worst mistakes", figure, alt)


def _cell(cell: Axes, card: Card) -> None:
    image = card.preview.image
    if image is not None:
        shown = "nearest" if max(image.shape[:2]) < SHARP_BELOW else "antialiased"
        cell.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0, vmax=255, interpolation=shown)
    elif card.preview.text:
        lines = [part for line in card.preview.text[:160].splitlines() for part in textwrap.wrap(line, 18)]
        text = "\n".join(lines[:7])
        cell.text(0.5, 0.5, text, ha="center", va="center", fontsize=5, transform=cell.transAxes)
    title = "\n".join(style.shorten(part, 18) for part in card.title.split("\n"))
    cell.set_title(f"{title}\n{card.detail.split(' ')[0]}", fontsize=6.5, fontweight="normal", loc="center", pad=3)


def image_uri(image: Array) -> str:
    """A picture as a `data:` URI; large ones are made smaller first."""
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((MAX_PIXELS, MAX_PIXELS))
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def is_small(image: Array) -> bool:
    """Whether a picture is to be enlarged with sharp pixels."""
    return bool(max(image.shape[:2]) < SHARP_BELOW)

"""How figures look, on paper and on the page: one set of colours that colour-blind readers can tell apart.

The colours are Okabe and Ito's (2008, "Color Universal Design"). Each figure is drawn once and written twice: as PNG on
white, and as SVG whose colours are the page's CSS variables, so that it follows the reader's light or dark theme.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#1f2329", "#667079", "#d8dde3", "#ffffff"
ACCENT, WRONG, SECOND, FAINT = "#0072b2", "#d55e00", "#9a7fb8", "#b4bcc5"
ON_ACCENT = "#fffffe"
"""Text on a filled cell: white on paper; its own variable on the page."""
CSS_NAMES = {
    INK: "ink", MUTED: "muted", LINE: "line", PAPER: "card", ACCENT: "accent", WRONG: "wrong", SECOND: "second",
    FAINT: "faint", ON_ACCENT: "on-accent",
}  # fmt: skip
PNG_DPI = 144

_RC: Any = {
    "figure.facecolor": PAPER, "savefig.facecolor": PAPER, "axes.facecolor": PAPER,
    "text.color": INK, "axes.labelcolor": MUTED, "axes.titlecolor": INK, "axes.edgecolor": LINE,
    "xtick.color": LINE, "ytick.color": LINE, "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED,
    "font.family": ["DejaVu Sans"], "font.size": 9.0, "axes.titlesize": 10.0, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.titlepad": 10.0, "axes.labelsize": 9.0, "legend.fontsize": 8.5,
    "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False,
    "grid.color": LINE, "grid.linewidth": 0.6, "axes.axisbelow": True, "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round", "patch.linewidth": 0.0, "xtick.major.size": 3.0, "ytick.major.size": 0.0,
    "figure.constrained_layout.w_pad": 0.1, "figure.constrained_layout.h_pad": 0.1,
    "text.parse_math": False,  # class names may hold dollar signs
    "svg.fonttype": "none", "axes.unicode_minus": True,
}  # fmt: skip


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Apply the style inside the block; nothing of it stays behind."""
    import matplotlib

    with matplotlib.rc_context(_RC), warnings.catch_warnings():
        # A script that the PNG's font lacks shows as boxes there; the page has the text itself.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Make a figure of so many inches, without pyplot's global state; its axes come row by row."""
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)


def save_png(figure: Figure, file: Path) -> None:
    """Write a figure as PNG: equal figures give equal bytes."""
    with styled():
        figure.savefig(file, format="png", dpi=PNG_DPI, metadata={"Software": None})


def to_svg(figure: Figure, name: str, alt: str) -> str:
    """Write a figure as SVG to stand inside a page, in the page's colours.

    Args:
        figure: A figure in the colours of this module.
        name: Different for each figure of a page, so that their clip paths do not mix.
        alt: Description of what it shows.
    """
    import html

    import matplotlib

    stream = io.StringIO()
    with styled(), matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r' id="(?!\w*[0-9a-f]{10})[^"]*"', "", body)  # only those that are referred to
    for colour, variable in CSS_NAMES.items():
        body = body.replace(colour, f"var(--{variable})")
    width, height = (72 * inches for inches in figure.get_size_inches())
    size = f'viewBox="0 0 {width:g} {height:g}" style="max-width:{width * 4 / 3:.0f}px"'
    return f'<svg {size} role="img" aria-label="{html.escape(alt, quote=True)}">{body.strip()}'


def shorten(text: str, length: int = 18) -> str:
    """Cut a name that is too long for a picture."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def label_end(axes: Axes, x: float, y: float, text: str, colour: str = INK) -> None:
    """Write a value beside the end of a bar."""
    axes.annotate(
        text, (x, y), xytext=(4, 0), textcoords="offset points", va="center", color=colour, fontsize=8.5, clip_on=False
    )


def clean_frame(axes: Axes, *, grid: str = "") -> None:
    """Leave out the frame; draw grid lines along `x`, `y` or `both` axes."""
    for side in ("left", "bottom", "top", "right"):
        axes.spines[side].set_visible(False)
    if grid in ("x", "both"):
        axes.grid(visible=True, axis="x")
    if grid in ("y", "both"):
        axes.grid(visible=True, axis="y")
    axes.tick_params(length=0)

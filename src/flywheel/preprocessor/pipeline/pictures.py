"""Pictures of a processed data set: examples of each class, and how the classes are balanced."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

from flywheel.project.types import Preview

SAMPLES_PER_CLASS = 10
MAX_CLASSES = 20
"""Classes that are drawn; with more the picture says so."""

INK, MUTED, GRID = "#1f2933", "#616e7c", "#e4e7eb"
SPLIT_COLOURS = {"train": "#2f6f9f", "validation": "#b7791f", "test": "#b5534c"}
CELL_INCHES = 0.78
MARGIN = 0.08  # of a cell
DPI = 150


def draw_samples(path: Path, samples: dict[str, list[Preview]], title: str) -> None:
    """Draw a row of examples for each group.

    Args:
        path: The PNG to write.
        samples: Samples by group (class name; an empty name where there are no classes).
        title: Title of the picture.
    """
    groups = dict(list(samples.items())[:MAX_CLASSES])
    if len(samples) > len(groups):
        title += f" (the first {len(groups)} of {len(samples)} classes)"
    columns = max(map(len, groups.values()), default=1)
    label_inches = 0.25 + 0.078 * max(len(_short(name)) for name in groups)
    width = max(label_inches + columns * CELL_INCHES + 0.1, _title_inches(title))
    height = 0.65 + len(groups) * CELL_INCHES
    figure = _figure(width, height)
    figure.text(0.15 / width, 1 - 0.3 / height, title, color=INK, size=11, weight="bold", va="center")
    grid = len(groups) * CELL_INCHES
    # One pair of axes for all cells: a pair for each would take ten times as long.
    axes = figure.add_axes((label_inches / width, 0.1 / height, columns * CELL_INCHES / width, grid / height))
    axes.set_axis_off()
    for row, (name, previews) in enumerate(groups.items()):
        middle = (0.1 + grid - (row + 0.5) * CELL_INCHES) / height
        figure.text((label_inches - 0.1) / width, middle, _short(name), color=INK, size=9, ha="right", va="center")
        for column, preview in enumerate(previews):
            _draw_preview(axes, preview, column, row)
    axes.set_xlim(0, columns)
    axes.set_ylim(len(groups), 0)
    axes.set_aspect("auto")
    _save(figure, path)


def draw_classes(path: Path, counts: dict[str, dict[str, int]], title: str) -> None:
    """Draw how many rows each class has in each split, and its share of the split.

    Args:
        path: The PNG to write.
        counts: Counts by split, then by class.
        title: Title of the picture.
    """
    splits = {name: classes for name, classes in counts.items() if sum(classes.values())}
    names = list(next(iter(splits.values())))
    shown = sorted(names, key=lambda name: -splits["train"][name])[:MAX_CLASSES] if len(names) > MAX_CLASSES else names
    if len(shown) < len(names):
        title += f" (the {len(shown)} largest of {len(names)} classes)"
    label_inches = 0.3 + 0.078 * max(len(_short(name)) for name in shown)
    panel, height = 2.6, 0.85 + 0.3 * len(shown)
    width = max(label_inches + len(splits) * panel + 0.1, _title_inches(title))
    figure = _figure(width, height)
    figure.text(0.15 / width, 1 - 0.24 / height, title, color=INK, size=11, weight="bold", va="center")
    for position, (split, classes) in enumerate(splits.items()):
        left = label_inches + position * panel
        axes = figure.add_axes((left / width, 0.1 / height, (panel - 0.25) / width, 0.3 * len(shown) / height))
        _draw_bars(axes, [classes[name] for name in shown], sum(classes.values()), SPLIT_COLOURS[split])
        heading = f"{split}  {sum(classes.values()):,} rows"
        figure.text(left / width, (0.3 * len(shown) + 0.25) / height, heading, color=SPLIT_COLOURS[split], size=9.5,
                    weight="bold", va="center")  # fmt: skip
        if position == 0:
            axes.set_yticks(range(len(shown)), [_short(name) for name in shown], color=INK, size=9)
    _save(figure, path)


def _draw_bars(axes: Any, numbers: list[int], total: int, colour: str) -> None:
    axes.barh(range(len(numbers)), numbers, color=colour, height=0.68)
    largest = max(numbers)
    for place, number in enumerate(numbers):
        text = f"{number:,}  {number / total:.1%}"
        inside = number > 0.55 * largest
        axes.text(number - 0.02 * largest if inside else number + 0.02 * largest, place, text, size=7.5, va="center",
                  ha="right" if inside else "left", color="white" if inside else MUTED)  # fmt: skip
    axes.set_xlim(0, largest)
    axes.set_ylim(len(numbers) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_color(GRID)


def _draw_preview(axes: Any, preview: Preview, column: int, row: int) -> None:
    if preview.image is not None:
        height, width = preview.image.shape[:2]
        inside = (1 - MARGIN) / 2 / max(height, width)  # half a cell, a pixel; the picture keeps its proportions
        extent = (column + 0.5 - width * inside, column + 0.5 + width * inside,
                  row + 0.5 + height * inside, row + 0.5 - height * inside)  # fmt: skip
        interpolation = "nearest" if max(height, width) < 64 else "antialiased"
        axes.imshow(preview.image, cmap="gray", vmin=0, vmax=255, interpolation=interpolation, extent=extent)
    elif preview.text is not None:
        lines = [part for line in preview.text.splitlines() for part in textwrap.wrap(line, 14)]
        text = "\n".join(lines[:6])
        axes.text(column + 0.5, row + 0.5, text, size=4.5, color=INK, ha="center", va="center")


def _title_inches(title: str) -> float:
    return 0.3 + 0.1 * len(title)


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"


def _figure(width: float, height: float) -> Any:
    # matplotlib takes a good second to import: only when there is something to draw.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(math.ceil(width * 20) / 20, math.ceil(height * 20) / 20), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    # Software would name matplotlib's version: bytes that no person sees and that change with an update.
    figure.savefig(path, dpi=DPI, metadata={"Software": None})

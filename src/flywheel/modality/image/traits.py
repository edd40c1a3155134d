"""Traits of pictures: light, contrast, edges, noise, and how bright each part of the picture is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from flywheel.monitor.trait.base import Array, Traits, numbers
from flywheel.preprocessor.base import Preprocessor

GRID = 4
BLOCK_ROWS = 512


def row_traits(inputs: Preprocessor, frame: pd.DataFrame) -> Traits:
    """Give the traits of pictures, as the network sees them: of one size."""
    pixels = inputs.transform(frame)["image"]  # uint8 [N, C, H, W]
    parts = [_block(pixels[start : start + BLOCK_ROWS]) for start in range(0, len(pixels), BLOCK_ROWS)]
    return {name: numbers(np.concatenate([part[name] for part in parts])) for name in parts[0]}


def _block(pixels: Array) -> dict[str, Array]:
    colours = pixels.astype(np.float32) / 255.0
    grey = colours.mean(axis=1)  # [N, H, W]
    across, down = np.abs(np.diff(grey, axis=2)), np.abs(np.diff(grey, axis=1))
    # The second difference along both axes is near 0 for smooth areas and for straight edges, and large for noise.
    grain = np.abs(np.diff(np.diff(grey, axis=1), axis=2))
    found = {
        "brightness": grey.mean(axis=(1, 2)),
        "contrast": grey.std(axis=(1, 2)),
        "edges across": across.mean(axis=(1, 2)),
        "edges down": down.mean(axis=(1, 2)),
        "grain": grain.mean(axis=(1, 2)),
        "dark share": (grey < 0.1).mean(axis=(1, 2)),
    }
    if colours.shape[1] > 1:
        found["colourfulness"] = colours.std(axis=1).mean(axis=(1, 2))
    return found | _areas(grey)


def _areas(grey: Array) -> dict[str, Array]:
    """Mean brightness of the areas of a grid; a picture of fewer pixels than that has no areas."""
    height, width = grey.shape[1:]
    if height < GRID or width < GRID:
        return {}
    rows, columns = (np.linspace(0, size, GRID + 1).astype(int) for size in (height, width))
    return {
        f"area {row + 1}.{column + 1}": grey[
            :, rows[row] : rows[row + 1], columns[column] : columns[column + 1]
        ].mean(axis=(1, 2))
        for row in range(GRID)
        for column in range(GRID)
    }  # fmt: skip

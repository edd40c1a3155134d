"""A picture's parts: squares of a grid, filled with what its edge is like; and its size."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

from flywheel.modality.image.data.pixels import num_pixels
from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.preprocessor.base import Preprocessor
from flywheel.project.types import Json
from flywheel.serving.row import Array, Field, Load, Parts, form_of, hidden_rows

MAX_CELLS = 14
PATCH_CELLS = 2
"""Cells that are hidden at a time, along each side: a line is not hidden by less than its width."""


def fields_of(inputs: Preprocessor) -> dict[str, Field]:
    """Give the size that the network sees; others are resized where the settings say so, else refused (`exact`)."""
    meta = inputs.meta()
    height, width = meta["image_size"]
    exact = cast(ImagePreprocessor, inputs).image_size is None
    about = {"height": height, "width": width, "channels": meta["num_channels"], "exact": exact}
    return {"image": Field(form_of(inputs), about)}


def load_of(inputs: Preprocessor, row: Json) -> Load:
    """Count the pixels that the picture's header promises, or that lie in its lists."""
    return Load(pixels=num_pixels(row.get("image")))


def parts_of(inputs: Preprocessor, frame: pd.DataFrame) -> list[Parts]:
    """Give a grid of at most 14 x 14 cells; each row hides a square of 2 x 2 of them."""
    picture: Array = inputs.clean(frame)[0]["image"].iloc[0]
    height, width = picture.shape[:2]
    rows, columns = (np.linspace(0, size, min(MAX_CELLS, size) + 1).round().astype(int) for size in (height, width))
    fill = _edge(picture)
    shape = (len(rows) - 1, len(columns) - 1)
    pictures, hides = [], []
    for top in range(max(1, shape[0] - PATCH_CELLS + 1)):
        for left in range(max(1, shape[1] - PATCH_CELLS + 1)):
            hidden = np.zeros(shape, bool)
            hidden[top : top + PATCH_CELLS, left : left + PATCH_CELLS] = True
            below, beside = min(top + PATCH_CELLS, shape[0]), min(left + PATCH_CELLS, shape[1])
            changed = picture.copy()
            changed[rows[top] : rows[below], columns[left] : columns[beside]] = fill
            pictures.append(changed)
            hides.append(hidden.reshape(-1))
    about = {"rows": shape[0], "columns": shape[1], "height": height, "width": width}
    return [Parts("grid", hidden_rows(frame, "image", pictures), np.stack(hides), about, "image")]


def _edge(picture: Array) -> Any:
    """The median of the outermost pixels, of each channel: what lies behind things, more often than not."""
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    return cast(Any, np.median(edge, axis=0).astype(picture.dtype))

"""Logistic regression on histograms of oriented gradients: the classical model that a picture network has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from flywheel.project.errors import ConfigError
from flywheel.project.types import Json
from flywheel.report.baseline import Baseline, BaselineData, Features, LogisticRegression
from flywheel.report.bootstrap import Array
from flywheel.report.examples import Examples
from flywheel.report.logistic import Strengths

NUM_ORIENTATIONS = 9
BLOCK = 2
"""Cells along each side of a block, whose histograms are normalised together."""
CELLS = 7
"""Cells along each side of a picture, about."""
MAX_VALUES = 2_000_000
"""Of pictures whose gradients are computed at a time."""


def hog_logistic_regression(
    c: Sequence[float] = (0.0001, 0.001, 0.01, 0.1, 1.0), max_iterations: int = 100, tolerance: float = 1e-3
) -> Baseline:
    """Logistic regression on histograms of oriented gradients (Dalal & Triggs 2005), standardised.

    Args:
        c: Inverse strengths of the L2 penalty to try; validation log-loss chooses.
        max_iterations: Most iterations of one fit.
        tolerance: Largest gradient at which a fit has converged.
    """
    return HogLogisticRegression(Strengths(c, max_iterations, tolerance))


class HogLogisticRegression(LogisticRegression):
    """See `hog_logistic_regression`."""

    title: ClassVar[str] = "HOG and logistic regression"

    def features(self, data: BaselineData) -> Features:
        """The histograms of some rows."""
        name = picture_input(data.meta)

        shape = data.meta["inputs"][name]["shape"]
        rows = max(1, MAX_VALUES // int(np.prod(shape)))

        def gradients(part: Examples, index: Array) -> Array:
            pieces = [index[start : start + rows] for start in range(0, len(index), rows)]
            return np.concatenate([hog(part.inputs(piece)[name].numpy()) for piece in pieces])

        number = hog(np.zeros((1, *shape), np.uint8)).shape[1]
        return Features(number, gradients, f"{number:,} histogram values of oriented gradients a row", standardise=True)


def hog(pictures_NCHW: Array) -> Array:
    """Histograms of oriented gradients, float32 [N, features].

    A pixel's gradient is that of the channel where it is steepest. Its magnitude is shared between the two nearest of
    `NUM_ORIENTATIONS` directions without a sign, and added up in cells; every block of `BLOCK` x `BLOCK` cells gives
    their histograms, brought to length 1.

    Args:
        pictures_NCHW: Any numbers; what is beyond the last whole cell is left out.
    """
    x = pictures_NCHW.astype(np.float32)
    down, right = np.zeros_like(x), np.zeros_like(x)
    down[:, :, 1:-1] = x[:, :, 2:] - x[:, :, :-2]
    right[..., 1:-1] = x[..., 2:] - x[..., :-2]
    size = np.hypot(down, right)
    steepest = size.argmax(axis=1)[:, None]
    down, right, size = (np.take_along_axis(one, steepest, axis=1)[:, 0] for one in (down, right, size))
    place = np.arctan2(down, right) * (NUM_ORIENTATIONS / np.pi) % NUM_ORIENTATIONS
    cells = np.stack([_in_cells(size * _share(place, direction)) for direction in range(NUM_ORIENTATIONS)], axis=-1)
    rows, columns = (min(BLOCK, count) for count in cells.shape[1:3])
    blocks = np.lib.stride_tricks.sliding_window_view(cells, (rows, columns), axis=(1, 2))
    flat = blocks.reshape(*blocks.shape[:3], -1)
    length = np.sqrt((flat * flat).sum(axis=-1, keepdims=True) + 1.0)  # of grey values: noise of 1 is no edge
    return np.ascontiguousarray((flat / length).reshape(len(x), -1), dtype=np.float32)


def picture_input(meta: Json) -> str:
    """The name of the input that holds pictures, [C, H, W].

    Raises:
        ConfigError: There is none, or there are several.
    """
    names = [name for name, spec in meta["inputs"].items() if len(spec["shape"]) == 3]
    if len(names) != 1:
        what = f"is for one input of pictures, this task has {len(names)}"
        raise ConfigError(what, where="evaluate.baselines", fix="use evaluate: classification")
    return str(names[0])


def _share(place: Array, direction: int) -> Array:
    """How much of each gradient belongs to a direction: 1 where it points there, 0 from the next direction on."""
    apart = np.abs(place - direction)
    return np.asarray(np.maximum(0, 1 - np.minimum(apart, NUM_ORIENTATIONS - apart)))


def _in_cells(values_NHW: Array) -> Array:
    """Sums of square cells, as many along each side as come near to `CELLS`, one pixel at least: [N, rows, columns]."""
    height, width = values_NHW.shape[1:]
    tall, wide = (max(1, min(side, max(2, round(side / CELLS)))) for side in (height, width))
    rows, columns = height // tall, width // wide
    whole = values_NHW[:, : rows * tall, : columns * wide]
    return np.asarray(whole.reshape(len(whole), rows, tall, columns, wide).sum(axis=(2, 4)))


BASELINES = (hog_logistic_regression,)
"""What a task may name in `evaluate.baselines`."""

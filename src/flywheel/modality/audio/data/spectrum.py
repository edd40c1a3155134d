"""Keeps standardised spectra as one byte a value, with a value that no sound has for what lies beyond a clip's end.

A stored 0 is padding; 1 to 255 are the deviations -127/32 to 127/32 from a band's mean, in standard deviations of that
band. The network undoes it in its own graph, from one `mean` and one `std` for all (128 and 32), so a deviation reaches
the model rounded to 1/32, and padding as exactly -4; what lies outside -127/32..127/32 is cut off, so no sound is that
low. Models tell padding by it (`meta.padding_value`), and pad convolutions with the bands' mean, 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flywheel.project.types import Json

Array = np.ndarray[Any, Any]

PADDING = 0
MIDDLE, STEPS = 128, 32
PADDING_VALUE = (PADDING - MIDDLE) / STEPS
"""What padding is after the network's scaling; exact in every floating-point format."""

_ANCHORS = ((24, 15, 60), (96, 25, 115), (183, 55, 121), (246, 130, 85), (252, 253, 191))
_BLANK = 255


class Moments:
    """Mean and standard deviation of each band over all frames, the same wherever chunks end."""

    def __init__(self) -> None:
        self._num_frames = 0
        self._sums: Array | None = None

    def add(self, sums: Array, num_frames: int) -> None:
        """Take in clips.

        Args:
            sums: The sums of each clip, as `clip_sums` gives them.
            num_frames: The number of frames of all clips together.
        """
        total = np.zeros(sums.shape[1:]) if self._sums is None else self._sums
        for one in sums:  # one clip after the other, or the last bits would depend on the size of the chunks
            total = total + one
        self._sums, self._num_frames = total, self._num_frames + num_frames

    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """Give both for each band; a band without variation has deviation 1. No clips, no bands."""
        if self._sums is None or not self._num_frames:
            return [], []
        mean = self._sums[0] / self._num_frames
        variance = np.maximum(self._sums[1] / self._num_frames - mean**2, 0)
        std = np.sqrt(variance)
        return mean.tolist(), np.where(std > 1e-6, std, 1.0).tolist()


def clip_sums(spectra: Array, num_frames: Array) -> Array:
    """Add up each clip's values, and their squares, float64 [N, 2, F].

    Args:
        spectra: float32 [frames of all clips, F], one clip after the other.
        num_frames: The number of frames of each clip, [N], at least 1.
    """
    starts = np.cumsum(num_frames) - num_frames
    values = spectra.astype(np.float64)
    return np.stack([np.add.reduceat(values, starts), np.add.reduceat(values * values, starts)], axis=1)


def pack(deviations: Array) -> Array:
    """Store standardised spectra, float32, as uint8; none becomes `PADDING`."""
    steps = np.rint(deviations * np.float32(STEPS))
    steps += np.float32(MIDDLE)
    return np.clip(steps, PADDING + 1, 255).astype(np.uint8)


def packed_meta(num_frames: int, num_bands: int) -> Json:
    """What the network must know of packed spectra [num_frames, num_bands]: one entry of `inputs`."""
    return {
        "dtype": "uint8",
        "shape": [num_frames, num_bands],
        "mean": [float(MIDDLE)],
        "std": [float(STEPS)],
        "padding": PADDING,
    }


def picture(packed: Array) -> Array:
    """Draw one packed spectrum [T, F]: uint8 [n F, T, 3], time to the right, high bands above, padding white.

    Each band is drawn as so many rows that the picture is about square.
    """
    places = np.linspace(1, 255, len(_ANCHORS))
    levels = np.arange(256)
    colours = np.stack([np.interp(levels, places, channel) for channel in zip(*_ANCHORS, strict=True)], axis=1)
    colours[PADDING] = _BLANK
    num_frames, num_bands = packed.shape
    bands = np.repeat(packed.T[::-1], max(1, round(num_frames / num_bands)), axis=0)
    drawn: Array = np.rint(colours).astype(np.uint8)[bands]
    return drawn

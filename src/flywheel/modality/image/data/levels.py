"""The levels of pixels: how often each occurs, and how the 65,536 of a picture of 16 bits become the 256 of a byte.

Microscopes, X-ray detectors and depth cameras write 10, 12 or 14 bits into files of 16. Dividing by 257, as for
pictures that use all 16, would leave 16 grey levels of 12 bits.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from flywheel.project.types import Json

Array = np.ndarray[Any, Any]

log = logging.getLogger("flywheel")

BYTE_LEVELS, ALL_LEVELS = 1 << 8, 1 << 16
BLOCK_PIXELS = 1 << 20  # counted at a time: counting makes 64-bit numbers of them
TAIL = 10_000
"""One pixel in so many, at either end, may lie outside a learnt range: hot and dead pixels of a sensor."""


class SixteenBits:
    """How pictures of 16 bits a channel become bytes.

    Args:
        stated: [black, white], the levels that become 0 and 255; None: learnt from train.

    Attributes:
        levels: The range in use; None: neither stated nor learnt.
        facts: What was learnt, for the profile.

    Raises:
        ValueError: The range is none.
    """

    def __init__(self, stated: Sequence[int] | None = None) -> None:
        self.stated = self.levels = None if stated is None else _checked(stated)
        self.facts: Json = {}

    def learn(self, counts: Array) -> Array:
        """Learn the range from train.

        Args:
            counts: How often each level occurs in each channel: int64 [C, 65536].

        Returns:
            The same counts as those of the bytes that the levels become: int64 [C, 256].
        """
        total = counts.sum(axis=0)
        self.levels, self.facts = self.stated, {}
        if not total.any():
            return np.zeros((len(counts), BYTE_LEVELS), np.int64)
        self.levels = levels = self.stated or learn_range(total)
        made = np.zeros((len(counts), BYTE_LEVELS), np.int64)
        for channel, count in zip(made, counts, strict=True):
            np.add.at(channel, _table(*levels), count)
        held, kept = np.flatnonzero(total), int(np.count_nonzero(made.sum(axis=0)))
        found = [int(held[0]), int(held[-1])]
        self.facts = {
            "sixteen_bit_range": list(levels),
            "sixteen_bit_pixels": found,
            "sixteen_bit_levels_kept": kept,
        }
        how = "set" if self.stated else "learnt"
        log.info("16-bit pictures: %d..%d become 0..255 (%s; train has pixels of %d..%d, of which %d levels are left)",
                 *levels, how, *found, kept)  # fmt: skip
        return made

    def to_bytes(self, pixels: Array) -> Array:
        """Scale uint16 pixels; what lies outside the range becomes its end. Without a range all levels count."""
        return _table(*(self.levels or (0, ALL_LEVELS - 1)))[pixels]

    def to_json(self) -> list[int] | None:
        """The range in use."""
        return None if self.levels is None else list(self.levels)

    @classmethod
    def from_json(cls, stated: Sequence[int] | None, levels: Sequence[int] | None) -> SixteenBits:
        """Rebuild what was learnt.

        Raises:
            ValueError: A range is none.
        """
        made = cls(stated)
        made.levels = None if levels is None else _checked(levels)
        return made


def learn_range(counts: Array) -> tuple[int, int]:
    """Find the levels that become 0 and 255.

    These are the ends of a number of bits (0 and 4095, say) where the pixels spread over half of that or more, so that
    pictures which use all 16 bits are read as always; else they are the ends of the pixels themselves.

    Args:
        counts: How often each level occurs in train: int64 [65536].
    """
    total = int(counts.sum())
    below = np.cumsum(counts)
    low = int(np.searchsorted(below, total // TAIL, side="right"))
    high = int(np.searchsorted(below, total - total // TAIL))
    full = (1 << max(1, high.bit_length())) - 1
    return (0, full) if low == high or 2 * (high - low) >= full else (low, high)


def level_counts(pictures: Sequence[Array], num_channels: int, dtype: type[np.unsignedinteger[Any]]) -> Array:
    """Count how often each level occurs in each channel of the pictures of one dtype: int64 [C, levels].

    Args:
        pictures: [H, W] or [H, W, C] each, of one size, uint8 and uint16.
        num_channels: Number of channels, C.
        dtype: The dtype of the values that count.
    """
    counts = np.zeros((num_channels, np.iinfo(dtype).max + 1), np.int64)
    chosen = [picture for picture in pictures if picture.dtype == dtype]
    pixels = np.stack(chosen).reshape(-1, num_channels) if chosen else np.empty((0, num_channels), dtype)
    for start in range(0, len(pixels), BLOCK_PIXELS):
        for channel, count in enumerate(counts):
            count += np.bincount(pixels[start : start + BLOCK_PIXELS, channel], minlength=len(count))
    return counts


def moments(counts: Array) -> tuple[float, float]:
    """Mean and standard deviation from whole numbers of any size, so that the order of rows changes no bit."""
    number = sum(map(int, counts))
    total = sum(level * int(count) for level, count in enumerate(counts))
    squares = sum(level * level * int(count) for level, count in enumerate(counts))
    variance = (number * squares - total * total) / (number * number)
    return total / number, variance**0.5 or 1.0  # a constant channel is only shifted


def _checked(given: Sequence[int]) -> tuple[int, int]:
    if len(given) != 2 or not 0 <= given[0] < given[1] < ALL_LEVELS:
        raise ValueError(f"sixteen_bit_range {list(given)} is not [black, white], two levels in 0..{ALL_LEVELS - 1}")
    return int(given[0]), int(given[1])


@functools.lru_cache(8)
def _table(low: int, high: int) -> Array:
    scaled = (np.arange(ALL_LEVELS, dtype=np.float64) - low) * 255 / (high - low)
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)

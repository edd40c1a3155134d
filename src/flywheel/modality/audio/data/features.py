"""Features of speech, computed for many clips at once: frames by stride tricks, one FFT, one filterbank.

No sum here depends on which other clips are in the chunk, nor on the number of threads: a request to the server gives
the very bits that training saw. For that the filterbank is a sparse product, added up in one order; a dense one would
go through BLAS, whose order of addition changes with the number of rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LOG_FLOOR = 1e-10
"""Power below which the logarithm is not followed: -100 dB of a clip at full scale."""


@dataclass(frozen=True)
class FrameSettings:
    """How clips are cut into frames and what is computed of each.

    Attributes:
        rate_hz: Samples a second.
        frame_ms: Length of a frame.
        hop_ms: Distance between the beginnings of two frames.
        num_mels: Bands of the mel filterbank.
        low_hz: Lower end of the lowest band.
        high_hz: Upper end of the highest band; None: half of `rate_hz`.
    """

    rate_hz: int
    frame_ms: float = 25.0
    hop_ms: float = 10.0
    num_mels: int = 40
    low_hz: float = 20.0
    high_hz: float | None = None

    def __post_init__(self) -> None:
        """Refuse frames and bands that cannot be.

        Raises:
            ValueError: One is.
        """
        if self.rate_hz < 1 or not 0 < self.hop_ms <= self.frame_ms:
            raise ValueError("sample_rate_hz >= 1 and 0 < hop_ms <= frame_ms are required")
        if self.hop_samples < 1 or self.num_mels < 1 or not 0 <= self.low_hz < self.top_hz <= self.rate_hz / 2:
            raise ValueError(
                "a hop of a sample, num_mels >= 1, 0 <= low_hz < high_hz <= sample_rate_hz / 2 are required"
            )

    @property
    def frame_samples(self) -> int:
        """Samples of a frame."""
        return round(self.rate_hz * self.frame_ms / 1000)

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next."""
        return round(self.rate_hz * self.hop_ms / 1000)

    @property
    def fft_samples(self) -> int:
        """The frame's length, rounded up to a power of two."""
        return 1 << max(1, math.ceil(math.log2(self.frame_samples)))

    @property
    def top_hz(self) -> float:
        """Upper end of the highest band."""
        return self.rate_hz / 2 if self.high_hz is None else self.high_hz

    def num_frames(self, num_samples: Any) -> Any:
        """Frames of a clip: one begins at every hop within it; the last ones are filled up with silence."""
        return -(-num_samples // self.hop_samples)


def mel_of_hz(hz: Any) -> Any:
    """The mel scale in O'Shaughnessy's form (1987), which HTK uses: 2595 log10(1 + f / 700)."""
    return 2595.0 * np.log10(1.0 + np.asarray(hz, np.float64) / 700.0)


def hz_of_mel(mel: Any) -> Any:
    """The inverse of `mel_of_hz`."""
    return 700.0 * (10.0 ** (np.asarray(mel, np.float64) / 2595.0) - 1.0)


@lru_cache(maxsize=8)
def mel_filterbank(settings: FrameSettings) -> Array:
    """Triangles of height 1 between points equally far apart in mel (HTK's, without Slaney's division by width).

    Returns:
        float32 [num_mels, fft_samples / 2 + 1].
    """
    ends = mel_of_hz([settings.low_hz, settings.top_hz])
    points = hz_of_mel(np.linspace(ends[0], ends[1], settings.num_mels + 2))
    bins = np.arange(settings.fft_samples // 2 + 1) * (settings.rate_hz / settings.fft_samples)
    left, middle, right = points[:-2, None], points[1:-1, None], points[2:, None]
    up, down = (bins - left) / (middle - left), (right - bins) / (right - middle)
    weights = np.maximum(0.0, np.minimum(up, down))
    for band in np.flatnonzero(weights.sum(axis=1) == 0):  # narrower than a bin: the nearest bin stands for it
        weights[band, np.abs(bins - middle[band]).argmin()] = 1.0
    return np.asarray(weights, np.float32)


@lru_cache(maxsize=8)
def _sparse_filterbank(settings: FrameSettings) -> Any:
    from scipy.sparse import csr_array

    return csr_array(mel_filterbank(settings))


def log_mel(clips: Sequence[Array], settings: FrameSettings) -> Array:
    """Natural logarithm of the power in each mel band of each frame (periodic Hann window).

    Args:
        clips: float32 [samples] each, at `settings.rate_hz`.
        settings: Settings of the frames and bands.

    Returns:
        float32 [frames of all clips, num_mels], one clip after the other; a clip has `num_frames` of its length.
    """
    frames = framed(clips, settings)
    length = frames.shape[1]
    frames *= (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)
    spectrum = np.fft.rfft(frames, settings.fft_samples)
    parts = np.square(spectrum.view(np.float32), out=spectrum.view(np.float32))
    power = parts[:, 0::2] + parts[:, 1::2]
    # [bands, frames]: a sparse product adds up one nonzero after the other, for all frames alike.
    mel = _sparse_filterbank(settings) @ np.ascontiguousarray(power.T)
    np.log(np.maximum(mel, np.float32(LOG_FLOOR), out=mel), out=mel)
    return np.ascontiguousarray(mel.T)


def framed(clips: Sequence[Array], settings: FrameSettings) -> Array:
    """Cut clips into overlapping frames, float32 [frames of all clips, frame_samples]; what is missing is silence."""
    length, hop = settings.frame_samples, settings.hop_samples
    num_frames = [settings.num_frames(len(clip)) for clip in clips]
    frames = np.empty((sum(num_frames), length), np.float32)
    first = 0
    for clip, number in zip(clips, num_frames, strict=True):
        filled = np.zeros((number - 1) * hop + length, np.float32)
        filled[: len(clip)] = clip[: len(filled)]
        frames[first : first + number] = np.lib.stride_tricks.sliding_window_view(filled, length)[::hop]
        first += number
    return frames


def padded(rows: Array, num_frames: Array, length: int) -> Array:
    """Stack the frames of several clips, [frames of all clips, ...], as [N, length, ...], filled up with zeros."""
    stacked = np.zeros((len(num_frames), length, *rows.shape[1:]), rows.dtype)
    stacked[np.arange(length) < num_frames[:, None]] = rows
    return stacked


def mfcc(log_mels: Array, num_coefficients: int) -> Array:
    """Mel-frequency cepstral coefficients (Davis & Mermelstein 1980): an orthonormal DCT-II over the bands.

    Args:
        log_mels: float32 [..., num_mels].
        num_coefficients: The first so many are kept.

    Returns:
        float32 [..., num_coefficients].
    """
    from scipy.fft import dct

    return np.ascontiguousarray(dct(log_mels, type=2, norm="ortho", axis=-1)[..., :num_coefficients], dtype=np.float32)


def resample(samples: Array, rate_hz: int, wanted_hz: int) -> Array:
    """Bring samples, float32 [N], to another rate by a polyphase filter (scipy's, a Kaiser window of beta 5)."""
    if rate_hz == wanted_hz:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(rate_hz, wanted_hz)
    up, down = wanted_hz // common, rate_hz // common
    return np.asarray(resample_poly(samples, up, down, window=_low_pass(up, down)), np.float32)


@lru_cache(maxsize=8)
def _low_pass(up: int, down: int) -> Array:
    """The filter that `resample_poly` would design anew for every clip."""
    from scipy.signal import firwin

    widest = max(up, down)
    return np.asarray(firwin(2 * 10 * widest + 1, 1.0 / widest, window=("kaiser", 5.0)), np.float32)


def trim_silence(samples: Array, block: int, threshold_db: float) -> Array:
    """Cut off what is quiet at both ends; pauses within stay.

    Args:
        samples: float32 [N].
        block: Samples that are judged together.
        threshold_db: A block is quiet if its power is more than so many decibels below that of the loudest one.

    Returns:
        A view of `samples` that begins and ends with a block that is not quiet; empty where nothing sounds at all.
    """
    num_blocks = -(-len(samples) // block)
    padded = np.zeros(num_blocks * block, np.float32)
    padded[: len(samples)] = samples
    power = np.square(padded).reshape(num_blocks, block).sum(axis=1)
    loudest = power.max(initial=0.0)
    if loudest <= 0:
        return samples[:0]
    loud = np.flatnonzero(power >= loudest * 10 ** (-threshold_db / 10))
    return samples[loud[0] * block : (loud[-1] + 1) * block]

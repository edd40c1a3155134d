"""Brings one recording, in whatever form it arrives, to a clip of one rate, level and greatest length."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flywheel.modality.audio.data.features import Array, resample, trim_silence
from flywheel.modality.audio.data.file import AudioError, Recording, decode_audio, samples_in

TOO_LONG = ("cut", "drop")
QUIET = 1e-5
"""Largest sample of a clip that counts as silence: a third of the smallest step of 16 bits."""


class Clip(NamedTuple):
    """A recording that `ClipSettings.clip` has made: float32 [N] at the settings' rate. It passes through unchanged."""

    samples: Array


@dataclass(frozen=True)
class ClipSettings:
    """How recordings become clips.

    Attributes:
        rate_hz: Samples a second that every recording is brought to.
        max_seconds: Longest clip, after silence is cut off.
        too_long: What happens to a longer one: `cut` (its end is left out) or `drop` (the row cannot be used).
        trim_db: Sound this much quieter than the loudest part is cut off at both ends as silence; None: nothing is cut
            off.
        normalise_level: Whether every clip is made as loud as full scale allows.
    """

    rate_hz: int
    max_seconds: float
    too_long: str = "cut"
    trim_db: float | None = 40.0
    normalise_level: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that cannot be.

        Raises:
            ValueError: One is.
        """
        if self.rate_hz < 1 or self.max_seconds <= 0:
            raise ValueError("sample_rate_hz and max_seconds must be above 0")
        if self.too_long not in TOO_LONG:
            raise ValueError(f"too_long must be one of {', '.join(TOO_LONG)}, not '{self.too_long}'")
        if self.trim_db is not None and self.trim_db <= 0:
            raise ValueError(f"trim_db must be above 0 or null, not {self.trim_db}")

    @property
    def max_samples(self) -> int:
        """Samples of the longest clip."""
        return max(1, round(self.rate_hz * self.max_seconds))

    def clip(self, value: Any) -> Clip:
        """Decode, mix down, resample, cut off silence, and bring to level and length.

        Raises:
            AudioError: The value is not a recording, holds only silence, or is too long.
        """
        if isinstance(value, Clip):
            return value
        recording = as_recording(value)
        samples = resample(recording.samples, recording.rate_hz, self.rate_hz)
        if float(np.abs(samples).max(initial=0.0)) <= QUIET:
            raise AudioError("holds only silence")
        if self.trim_db is not None:
            samples = trim_silence(samples, max(1, self.rate_hz // 100), self.trim_db)
        if len(samples) > self.max_samples:
            if self.too_long == "drop":
                seconds = len(samples) / self.rate_hz
                raise AudioError(
                    f"is {seconds:.2f} s long, more than {self.max_seconds:g} (preprocess.inputs.max_seconds)"
                )
            samples = samples[: self.max_samples]
        if self.normalise_level:
            samples = samples * np.float32(1.0 / max(float(np.abs(samples).max()), QUIET))
        return Clip(np.ascontiguousarray(samples, np.float32))


def as_recording(value: Any) -> Recording:
    """Accept an encoded recording (bytes, base64 text, or a path), or one that is decoded.

    Raises:
        AudioError: It is none of these, or cannot be decoded.
    """
    if isinstance(value, Recording):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return decode_audio(bytes(value))
    if isinstance(value, str):
        return decode_audio(_from_base64(value))
    if isinstance(value, Path):
        try:
            return decode_audio(value.read_bytes())
        except OSError as error:
            raise AudioError(f"cannot be read: {error.strerror or error}") from None
    if value is None or (isinstance(value, float) and np.isnan(value)):
        raise AudioError("has no recording")
    raise AudioError(f"a {type(value).__name__} is not a recording")


def num_samples(value: Any) -> int:
    """Tell how many samples, over all channels, an encoded recording promises; 0: it cannot be told."""
    try:
        if isinstance(value, bytes | str):
            return samples_in(value if isinstance(value, bytes) else _from_base64(value))
    except AudioError:
        pass  # said when it is decoded
    return 0


def _from_base64(text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)  # MLflow breaks lines
    except (binascii.Error, ValueError):
        raise AudioError("a text is not a recording unless it is base64") from None

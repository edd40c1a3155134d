"""Decodes a recording (WAV, FLAC or OGG) into one channel of samples; nothing else lets libsndfile read bytes.

soundfile is imported when the first recording is decoded: listing files needs none.
"""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np

AUDIO_EXTENSIONS = (".wav", ".flac", ".ogg", ".oga", ".opus")
MAX_SAMPLES = 64_000_000
"""Samples over all channels; a header, or a FLAC of silence, of a few bytes can promise gigabytes."""

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 384_000

_MAGIC = (b"RIFF", b"fLaC", b"OggS")
_UNKNOWN_SIZE = 0xFFFF_FFFF  # what programs write that do not know yet how long a recording will be


class AudioError(ValueError):
    """Why a value cannot be a recording, in words that fit after `row 3: `."""


class Recording(NamedTuple):
    """Samples of one channel, float32 [N], full scale at -1 and 1, and how many of them make a second."""

    samples: np.ndarray[Any, Any]
    rate_hz: int


def decode_audio(encoded: bytes) -> Recording:
    """Decode a recording and mix its channels down to their mean.

    Nothing is decoded before the header has been found to promise no more than `MAX_SAMPLES`.

    Raises:
        AudioError: The bytes are no recording, are truncated, hold too much, nothing, or samples that are no numbers.
    """
    import soundfile

    if not encoded:
        raise AudioError("is empty")
    if not encoded.startswith(_MAGIC):  # libsndfile would try thirty other formats, one of which answers on stderr
        raise AudioError("is no WAV, FLAC or OGG file")
    _check_wav_size(encoded)
    try:
        with soundfile.SoundFile(io.BytesIO(encoded)) as file:
            check_header(file.frames, file.channels, file.samplerate)
            samples = file.read(file.frames, dtype="float32", always_2d=True)
            promised = file.frames
    except AudioError:
        raise
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:  # ValueError, TypeError: headers that lie
        raise AudioError(f"is no recording that can be read ({_plain(error)})") from None
    if len(samples) < promised:
        raise AudioError(f"is cut short: {len(samples)} of {promised} samples are there")
    return Recording(mono(samples), int(file.samplerate))


def check_header(num_frames: int, num_channels: int, rate_hz: int) -> None:
    """Refuse what a header promises when it is too much, nothing, or cannot be.

    Raises:
        AudioError: It is.
    """
    if num_frames * num_channels > MAX_SAMPLES:
        raise AudioError(f"has {num_frames * num_channels} samples, more than {MAX_SAMPLES}")
    if num_frames < 1:
        raise AudioError("holds no samples")
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise AudioError(f"has {rate_hz} samples a second, not {MIN_RATE_HZ} to {MAX_RATE_HZ}")


def mono(samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Mix [N, channels] down to float32 [N].

    Raises:
        AudioError: A sample is not a finite number.
    """
    mixed = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mixed).all():
        raise AudioError("holds samples that are no finite numbers")
    return np.ascontiguousarray(mixed, dtype=np.float32)


def _check_wav_size(encoded: bytes) -> None:
    """Refuse a WAV file whose end is missing, which libsndfile would take for a shorter one."""
    place = 12
    while encoded.startswith(b"RIFF") and place + 8 <= len(encoded):
        size = int.from_bytes(encoded[place + 4 : place + 8], "little")
        if encoded[place : place + 4] == b"data":
            there = len(encoded) - place - 8
            if there < size != _UNKNOWN_SIZE:
                raise AudioError(f"is cut short: {there} of {size} bytes of sound are there")
            return
        place += 8 + size + size % 2


def _plain(error: Exception) -> str:
    text = getattr(error, "error_string", "") or str(error)
    return " ".join(str(text).split()).rstrip(".")

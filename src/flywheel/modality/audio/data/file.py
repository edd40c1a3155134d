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

_WAV, _OGG = (b"RIFF", b"RF64"), b"OggS"  # RF64: a WAV file that may be larger than 4 GiB (EBU Tech 3306)
_MAGIC = (*_WAV, b"fLaC", _OGG)
# The only codings that bytes are decoded from. libsndfile knows more, an MP3 inside a WAV file for one.
_WAV_CODINGS = {1: "PCM", 3: "floating point", 6: "A-law", 7: "mu-law"}
_EXTENSIBLE = 0xFFFE  # the coding stands 24 bytes further on
_OGG_CODINGS = (b"\x01vorbis", b"OpusHead")
_SUBTYPES = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "VORBIS", "OPUS")
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
        AudioError: The bytes are not a recording, are truncated, hold too much or nothing, or samples are not numbers.
    """
    import soundfile

    if not encoded:
        raise AudioError("is empty")
    _check_format(encoded)
    try:
        with soundfile.SoundFile(io.BytesIO(encoded)) as file:
            if file.subtype not in _SUBTYPES:
                raise AudioError(f"holds sound coded as {file.subtype}, which is not read")
            check_header(file.frames, file.channels, file.samplerate)
            samples = file.read(file.frames, dtype="float32", always_2d=True)
            promised = file.frames
    except AudioError:
        raise
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:  # ValueError, TypeError: headers that lie
        raise AudioError(f"is not a readable recording ({_plain(error)})") from None
    if len(samples) < promised:
        raise AudioError(f"is cut short: {len(samples)} of {promised} samples are present")
    return Recording(mono(samples), int(file.samplerate))


def samples_in(encoded: bytes) -> int:
    """Tell how many samples, over all channels, a recording's header promises; nothing is decoded.

    Raises:
        AudioError: The bytes are not a recording.
    """
    import soundfile

    _check_format(encoded)
    try:
        with soundfile.SoundFile(io.BytesIO(encoded)) as file:
            return int(file.frames * file.channels)
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        raise AudioError(f"is not a readable recording ({_plain(error)})") from None


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
        raise AudioError("holds samples that are not finite numbers")
    return np.ascontiguousarray(mixed, dtype=np.float32)


def _check_format(encoded: bytes) -> None:
    """Refuse all but WAV, FLAC and OGG of the known codings before libsndfile, which tries thirty formats, sees them.

    Raises:
        AudioError: It is another format or coding, or a WAV file whose end is missing.
    """
    if encoded.startswith(b"ID3") or (encoded[:1] == b"\xff" and encoded[1:2] >= b"\xe0"):  # a tag, or a frame's start
        raise AudioError("is an MP3 file by its content, not a WAV, FLAC or OGG file")
    if not encoded.startswith(_MAGIC) or (encoded.startswith(_WAV) and encoded[8:12] != b"WAVE"):
        raise AudioError("is not a WAV, FLAC or OGG file")
    if encoded.startswith(_WAV):
        _check_wav(encoded)
    elif encoded.startswith(_OGG):
        first = 27 + int.from_bytes(encoded[26:27], "little")  # after the page's header and its table of lengths
        if not encoded[first:].startswith(_OGG_CODINGS):
            raise AudioError("is an OGG file that holds neither Vorbis nor Opus")


def _check_wav(encoded: bytes) -> None:
    """Refuse a WAV file of an unknown coding, and one whose end is missing: libsndfile would take it for a shorter one.

    Raises:
        AudioError: It is.
    """
    place, large = 12, _UNKNOWN_SIZE
    while place + 8 <= len(encoded):
        name, start = encoded[place : place + 4], place + 8
        size = int.from_bytes(encoded[place + 4 : start], "little")
        if name == b"ds64":  # of RF64, where the data chunk itself does not say how large it is
            large = int.from_bytes(encoded[start + 8 : start + 16], "little")
        elif name == b"fmt ":
            coding = int.from_bytes(encoded[start : start + 2], "little")
            if coding == _EXTENSIBLE:
                coding = int.from_bytes(encoded[start + 24 : start + 26], "little")
            if coding not in _WAV_CODINGS:
                known = ", ".join(_WAV_CODINGS.values())
                raise AudioError(f"is a WAV file of coding {coding:#06x}, which is not read ({known} are)")
        elif name == b"data":
            size = large if size == _UNKNOWN_SIZE else size
            there = len(encoded) - start
            if there < size != _UNKNOWN_SIZE:
                raise AudioError(f"is cut short: {there} of {size} bytes of sound are present")
            return
        place = start + size + size % 2


def _plain(error: Exception) -> str:
    text = getattr(error, "error_string", "") or str(error)
    return " ".join(str(text).split()).rstrip(".")

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import soundfile

from flywheel.modality.audio.data import file as audio_file
from flywheel.modality.audio.data.file import AudioError, decode_audio

WAVE = (0.5 * np.sin(np.arange(800) / 5)).astype(np.float32)


def encoded(samples: Any = WAVE, rate: int = 8000, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=kind, subtype=subtype)
    return stream.getvalue()


def patched(offset: int, form: str, value: int) -> bytes:
    """A WAV file with another number in its header."""
    changed = bytearray(encoded())
    struct.pack_into(form, changed, offset, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [("WAV", "PCM_U8", 0.01), ("WAV", "PCM_16", 4e-5), ("WAV", "PCM_24", 1e-6), ("WAV", "FLOAT", 0),
     ("WAV", "ULAW", 0.02), ("WAV", "ALAW", 0.02), ("WAV", "DOUBLE", 0), ("WAVEX", "PCM_24", 1e-6),
     ("RF64", "PCM_16", 4e-5), ("FLAC", "PCM_16", 4e-5), ("OGG", "VORBIS", 0.1), ("OGG", "OPUS", 0.2)],
)  # fmt: skip
def test_every_kind_is_decoded(kind: str, subtype: str, tolerance: float) -> None:
    recording = decode_audio(encoded(kind=kind, subtype=subtype))
    assert recording.rate_hz == 8000
    assert recording.samples.dtype == np.float32
    np.testing.assert_allclose(recording.samples, WAVE, atol=tolerance)


def test_channels_are_mixed_to_their_mean() -> None:
    recording = decode_audio(encoded(np.stack([WAVE, 0.5 * WAVE, 0 * WAVE], axis=1), subtype="FLOAT"))
    np.testing.assert_allclose(recording.samples, 0.5 * WAVE, atol=1e-7)


def test_a_wav_of_unstated_length_is_read_to_its_end() -> None:
    assert len(decode_audio(patched(40, "<I", 0xFFFF_FFFF)).samples) == len(WAVE)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"hello", "is not a WAV, FLAC or OGG file"),
        (b"RIFF", "is not a WAV, FLAC or OGG file"),
        (encoded(kind="MP3", subtype="MPEG_LAYER_III"), "is an MP3 file by its content, not a WAV, FLAC or OGG file"),
        (encoded(kind="AIFF"), "is not a WAV, FLAC or OGG file"),
        (encoded(kind="RF64")[:-1], "is cut short: 1599 of 1600 bytes of sound are present"),
        (encoded()[:60], "is cut short: 16 of 1600 bytes of sound are present"),
        (encoded()[:-1], "is cut short: 1599 of 1600 bytes of sound are present"),
        (encoded(kind="FLAC")[:-200], "is not a readable recording"),
        (encoded(kind="FLAC")[:30], "is not a readable recording"),
        (encoded(kind="OGG", subtype="VORBIS")[:-1], "holds no samples"),
        (encoded(WAVE[:0]), "holds no samples"),
        (encoded(np.where(WAVE > 0.4, np.nan, WAVE), subtype="FLOAT"), "holds samples that are not finite numbers"),
        (encoded(np.where(WAVE > 0.4, np.inf, WAVE), subtype="FLOAT"), "holds samples that are not finite numbers"),
        (patched(24, "<I", 1), "has 1 samples a second, not 1000 to 384000"),
        (patched(24, "<I", 2**31 - 1), "has 2147483647 samples a second"),
        (patched(22, "<H", 0), "is not a readable recording"),
        (patched(22, "<H", 65535), "is not a readable recording"),
    ],
)
def test_what_cannot_be_used_has_a_reason(content: bytes, why: str) -> None:
    with pytest.raises(AudioError) as caught:
        decode_audio(content)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize(
    "content",
    [*(encoded(kind="WAV", subtype=subtype) for subtype in ("IMA_ADPCM", "MS_ADPCM", "GSM610", "NMS_ADPCM_16")),
     patched(20, "<H", 0x55)],
    ids=["IMA_ADPCM", "MS_ADPCM", "GSM610", "NMS_ADPCM_16", "MPEG_LAYER_III"],
)  # fmt: skip
def test_other_codings_in_a_wav_file_reach_no_decoder(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfile, "SoundFile", lambda *_: pytest.fail("was opened"))
    with pytest.raises(AudioError, match=r"is a WAV file of coding 0x.*, which is not read \(PCM, "):
        decode_audio(content)


def test_other_codings_in_an_ogg_file_reach_no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(kind="OGG", subtype="VORBIS").replace(b"\x01vorbis", b"Speex  ")
    monkeypatch.setattr(soundfile, "SoundFile", lambda *_: pytest.fail("was opened"))
    with pytest.raises(AudioError, match="is an OGG file that holds neither Vorbis nor Opus"):
        decode_audio(content)


def test_more_than_the_limit_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    silence = encoded(np.zeros(200_000, np.int16), kind="FLAC")
    assert len(silence) < 2000
    monkeypatch.setattr(audio_file, "MAX_SAMPLES", 100_000)
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("was decoded"))
    with pytest.raises(AudioError, match="has 200000 samples, more than 100000"):
        decode_audio(silence)

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from flywheel.modality.audio.data.clip import Clip, ClipSettings, as_recording
from flywheel.modality.audio.data.file import AudioError

SETTINGS = ClipSettings(8000, 0.5)


def tone(seconds: float, rate: int = 8000, level: float = 0.5) -> np.ndarray[Any, Any]:
    return (level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def wav(samples: np.ndarray[Any, Any], rate: int = 8000) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def test_every_form_of_a_recording_is_one_and_the_same(tmp_path: Path) -> None:
    encoded = wav(tone(0.1))
    (tmp_path / "a.wav").write_bytes(encoded)
    text, lines = base64.b64encode(encoded).decode(), base64.encodebytes(encoded).decode()
    texts = [text, lines, f"data:audio/wav;base64,{text}"]
    forms = [encoded, bytearray(encoded), memoryview(encoded), *texts, tmp_path / "a.wav"]
    for form in forms:
        np.testing.assert_array_equal(as_recording(form).samples, tone(0.1))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "has no recording"),
        (float("nan"), "has no recording"),
        (3, "a int is not a recording"),
        ("hello!", "a text is not a recording unless it is base64"),
        (Path("/nowhere.wav"), "cannot be read: No such file or directory"),
        (b"", "is empty"),
    ],
)
def test_other_values_have_a_reason(value: Any, why: str) -> None:
    with pytest.raises(AudioError, match=f"^{why}$"):
        as_recording(value)


def test_level_rate_and_channels_make_no_difference_to_a_clip() -> None:
    clip = SETTINGS.clip(wav(tone(0.2))).samples
    assert clip.dtype == np.float32
    assert np.abs(clip).max() == pytest.approx(1)
    np.testing.assert_allclose(SETTINGS.clip(wav(0.01 * tone(0.2))).samples, clip, atol=1e-5)
    np.testing.assert_allclose(SETTINGS.clip(wav(np.stack([tone(0.2)] * 2, axis=1))).samples, clip, atol=1e-5)
    other = SETTINGS.clip(wav(tone(0.2, 16000), 16000)).samples
    np.testing.assert_allclose(other[200:1400], clip[200:1400], atol=0.02)


def test_level_is_kept_where_it_is_to_be() -> None:
    clip = ClipSettings(8000, 0.5, normalise_level=False).clip(wav(tone(0.2, level=0.25))).samples
    assert np.abs(clip).max() == pytest.approx(0.25, abs=1e-3)


def test_silence_is_cut_off_before_the_length_is_judged() -> None:
    quiet = np.zeros(8000, np.float32)
    clip = SETTINGS.clip(wav(np.concatenate([quiet, tone(0.3), quiet]))).samples
    assert len(clip) == 2400
    whole = ClipSettings(8000, 5.0, trim_db=None).clip(wav(np.concatenate([quiet, tone(0.3)]))).samples
    assert len(whole) == 10400


def test_a_longer_clip_is_cut_or_dropped() -> None:
    assert len(SETTINGS.clip(wav(tone(0.6))).samples) == 4000
    with pytest.raises(AudioError, match=r"is 0\.60 s long, more than 0\.5 \(preprocess\.inputs\.max_seconds\)"):
        ClipSettings(8000, 0.5, too_long="drop").clip(wav(tone(0.6)))


@pytest.mark.parametrize("level", [0.0, 5e-6])
def test_silence_alone_is_no_clip(level: float) -> None:
    with pytest.raises(AudioError, match="holds only silence"):
        SETTINGS.clip(wav(tone(0.3, level=level)))


def test_a_clip_passes_unchanged() -> None:
    made = SETTINGS.clip(wav(tone(0.6)))
    assert SETTINGS.clip(made) is made
    assert isinstance(made, Clip)


@pytest.mark.parametrize(
    "wrong", [{"rate_hz": 0}, {"max_seconds": 0.0}, {"too_long": "shorten"}, {"trim_db": 0.0}, {"trim_db": -3.0}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"above 0|too_long"):
        ClipSettings(**{"rate_hz": 8000, "max_seconds": 1.0, **wrong})

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dct
from scipy.signal import stft
from scipy.signal.windows import hann

from flywheel.modality.audio.data.features import (
    FrameSettings,
    framed,
    hz_of_mel,
    log_mel,
    mel_filterbank,
    mel_of_hz,
    mfcc,
    padded,
    resample,
    trim_silence,
)

RATE = 8000
SETTINGS = FrameSettings(RATE, num_mels=20)
RNG = np.random.default_rng(0)


def tone(hz: float, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


def test_log_mel_equals_a_direct_computation_in_double_precision() -> None:
    clip = (0.3 * RNG.standard_normal(2000) + tone(440, 0.25)).astype(np.float32)
    found = log_mel([clip], SETTINGS)
    # scipy's STFT of the same frames: window of 200, hop of 80, FFT of 256, then triangles written out one by one.
    filled = np.concatenate([clip.astype(np.float64), np.zeros(200)])
    _, _, spectra = stft(filled, window=hann(200, sym=False), nperseg=200, noverlap=120, nfft=256, boundary=None,
                         padded=False, scaling="spectrum")  # fmt: skip
    power = np.abs(spectra * hann(200, sym=False).sum()) ** 2
    points = hz_of_mel(np.linspace(mel_of_hz(20.0), mel_of_hz(4000.0), 22))
    for band in range(20):
        low, middle, high = points[band : band + 3]
        weights = [
            max(0.0, min((f - low) / (middle - low), (high - f) / (high - middle))) for f in np.arange(129) * 31.25
        ]
        expected = np.log(np.maximum(weights @ power, 1e-10))[:25]
        np.testing.assert_allclose(found[:, band], expected, rtol=2e-4, atol=2e-4)
    assert found.shape == (25, 20)
    assert found.dtype == np.float32


def test_a_tone_is_loudest_in_its_own_band() -> None:
    centres = hz_of_mel(np.linspace(mel_of_hz(20.0), mel_of_hz(4000.0), 22))[1:-1]
    for hz in (300.0, 1000.0, 3000.0):
        loudest = log_mel([tone(hz)], SETTINGS)[10].argmax()
        assert abs(loudest - np.abs(centres - hz).argmin()) <= 1


def test_the_mel_scale_has_its_known_values_and_an_inverse() -> None:
    assert mel_of_hz(1000.0) == pytest.approx(999.99, abs=0.01)
    np.testing.assert_allclose(hz_of_mel(mel_of_hz([0, 20, 440, 4000])), [0, 20, 440, 4000], atol=1e-9)


@pytest.mark.parametrize("num_mels", [5, 20, 80])
def test_every_band_hears_something(num_mels: int) -> None:
    weights = mel_filterbank(FrameSettings(RATE, num_mels=num_mels))
    assert weights.shape == (num_mels, 129)
    assert (weights.sum(axis=1) > 0).all()
    assert weights.min() >= 0
    assert weights.max() <= 1


def test_mfcc_is_the_cosine_transform_of_the_bands() -> None:
    mels = log_mel([tone(440)], SETTINGS)
    np.testing.assert_allclose(mfcc(mels, 13), dct(mels.astype(np.float64), norm="ortho")[:, :13], atol=1e-4)


def test_a_clip_gives_the_same_bits_alone_and_among_others() -> None:
    clips = [RNG.standard_normal(number).astype(np.float32) for number in (1, 79, 80, 81, 1234, 4000, 777)]
    together = mfcc(log_mel(clips, SETTINGS), 13)
    alone = [mfcc(log_mel([clip], SETTINGS), 13) for clip in clips]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    assert [len(one) for one in alone] == [SETTINGS.num_frames(len(clip)) for clip in clips] == [1, 1, 1, 2, 16, 50, 10]


def test_frames_overlap_and_end_in_silence() -> None:
    settings = FrameSettings(1000, frame_ms=4, hop_ms=2, num_mels=1)
    frames = framed([np.arange(1, 6, dtype=np.float32), np.array([9], np.float32)], settings)
    np.testing.assert_array_equal(frames, [[1, 2, 3, 4], [3, 4, 5, 0], [5, 0, 0, 0], [9, 0, 0, 0]])
    np.testing.assert_array_equal(padded(frames[:, 0], np.array([3, 1]), 4), [[1, 3, 5, 0], [9, 0, 0, 0]])


def test_silence_has_a_floor() -> None:
    assert log_mel([np.zeros(100, np.float32)], SETTINGS) == pytest.approx(np.log(1e-10))


@pytest.mark.parametrize("rate", [4000, 11025, 16000, 22050, 44100, 48000])
def test_resampling_keeps_a_tone(rate: int) -> None:
    found = resample(tone(440, 1.0, rate), rate, RATE)
    assert len(found) == pytest.approx(RATE, abs=1)
    assert found.dtype == np.float32
    middle = slice(1000, 7000)
    np.testing.assert_allclose(found[middle], tone(440, 1.0)[middle], atol=0.01)


def test_resampling_keeps_out_what_the_new_rate_cannot_hold() -> None:
    assert np.abs(resample(tone(6000, 1.0, 16000), 16000, RATE)[500:-500]).max() < 0.01
    clip = tone(440)
    assert resample(clip, RATE, RATE) is clip


def test_silence_is_cut_off_at_both_ends_and_kept_within() -> None:
    loud, quiet = tone(500, 0.1), 0.001 * tone(500, 0.2)
    clip = np.concatenate([quiet, loud, quiet, loud, quiet])
    np.testing.assert_array_equal(trim_silence(clip, 80, 40.0), np.concatenate([loud, quiet, loud]))
    np.testing.assert_array_equal(trim_silence(clip, 80, 80.0), clip)
    np.testing.assert_array_equal(trim_silence(loud[:150], 80, 40.0), loud[:150])
    assert len(trim_silence(np.zeros(1000, np.float32), 80, 40.0)) == 0


@pytest.mark.parametrize(
    "wrong",
    [{"hop_ms": 30.0}, {"hop_ms": 0.0}, {"hop_ms": 0.01}, {"num_mels": 0}, {"low_hz": 5000.0}, {"high_hz": 5000.0}],
)
def test_frames_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="are required"):
        FrameSettings(RATE, **wrong)  # type: ignore[arg-type]

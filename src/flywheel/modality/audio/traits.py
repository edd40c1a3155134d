"""Traits of recordings: how long and loud they arrive, and where in the spectrum their sound is."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

from flywheel.modality.audio.data.clip import ClipSettings
from flywheel.modality.audio.data.preprocessor import AudioPreprocessor
from flywheel.monitor.trait.base import Array, Traits, numbers
from flywheel.preprocessor.base import Preprocessor

NUM_BANDS = 8
FLOOR = 1e-5


def row_traits(inputs: Preprocessor, frame: pd.DataFrame) -> Traits:
    """Give the traits of clips: of the model's sample rate, without silence at the ends, as loud as full scale allows.

    How loud a recording arrived is therefore no trait: no model sees it.
    """
    settings = cast(AudioPreprocessor, inputs).clips
    rows = [_clip_traits(settings, value) for value in frame["audio"]]
    return {name: numbers([row[name] for row in rows]) for name in rows[0]}


def _clip_traits(settings: ClipSettings, value: Any) -> dict[str, float]:
    samples = settings.clip(value).samples.astype(np.float64)
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1.0 / settings.rate_hz)
    total = float(power.sum()) or 1.0
    centre = float((power * frequency).sum()) / total
    level = np.sqrt(np.mean(samples**2))
    found = {
        "seconds": len(samples) / settings.rate_hz,
        "loudness (dB)": _decibels(level),
        "quiet share": float(np.mean(np.abs(samples) < 0.05 * max(FLOOR, float(np.abs(samples).max())))),
        "crossings": float(np.mean(np.diff(np.signbit(samples)))) if len(samples) > 1 else 0.0,
        "spectral centre (Hz)": centre,
        "spectral width (Hz)": float(np.sqrt((power * (frequency - centre) ** 2).sum() / total)),
        "flatness": _flatness(power),
    }
    edges = np.linspace(0, settings.rate_hz / 2, NUM_BANDS + 1)
    band = np.clip(np.searchsorted(edges, frequency, side="right") - 1, 0, NUM_BANDS - 1)
    shares = np.bincount(band, power, minlength=NUM_BANDS) / total
    return found | {
        f"{edges[place]:.0f} to {edges[place + 1]:.0f} Hz (dB)": _decibels(np.sqrt(share))
        for place, share in enumerate(shares)
    }


def _decibels(level: float) -> float:
    return float(20 * np.log10(max(FLOOR, level)))


def _flatness(power: Array) -> float:
    """Near 1 for noise, near 0 for tones: geometric over arithmetic mean of the spectrum."""
    mean = float(power.mean())
    return float(np.exp(np.log(power + 1e-12 * (mean or 1.0)).mean()) / (mean or 1.0))

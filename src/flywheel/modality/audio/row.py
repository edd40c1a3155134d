"""A recording's parts: equal spans of time, silenced."""

from __future__ import annotations

import itertools
from typing import cast

import numpy as np
import pandas as pd

from flywheel.modality.audio.data.clip import Clip, num_samples
from flywheel.modality.audio.data.preprocessor import AudioPreprocessor
from flywheel.preprocessor.base import Preprocessor
from flywheel.project.types import Json
from flywheel.serving.row import Load, Parts, hidden_rows, one_each

NUM_SPANS = 24
NUM_POINTS = 240
MIN_SAMPLES = 8


def load_of(inputs: Preprocessor, row: Json) -> Load:
    """Count the samples that the recording's header promises."""
    return Load(samples=num_samples(row.get("audio")))


def parts_of(inputs: Preprocessor, frame: pd.DataFrame) -> list[Parts]:
    """Give spans of the clip as the network hears it: at its rate, without silence at the ends, cut to length."""
    clip = cast(Clip, inputs.clean(frame)[0]["audio"].iloc[0])
    samples = clip.samples
    ends = np.linspace(0, len(samples), min(NUM_SPANS, max(1, len(samples) // MIN_SAMPLES)) + 1).round().astype(int)
    clips = []
    for start, end in itertools.pairwise(ends):
        changed = samples.copy()
        changed[start:end] = 0
        clips.append(Clip(changed))
    seconds = ends / cast(AudioPreprocessor, inputs).clips.rate_hz
    outline = [float(np.abs(part).max()) for part in np.array_split(samples, min(NUM_POINTS, len(samples)))]
    about = {"seconds": [float(second) for second in seconds], "outline": outline}
    return [Parts("spans", hidden_rows(frame, "audio", clips), one_each(len(clips)), about, "audio")]

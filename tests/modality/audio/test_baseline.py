from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from flywheel.modality.audio.baseline import clip_statistics, mfcc_logistic_regression
from flywheel.modality.audio.data.file import Recording
from flywheel.modality.audio.data.preprocessor import AudioPreprocessor
from flywheel.project.errors import ConfigError
from flywheel.reader.format.value import object_column
from flywheel.report.baseline import BaselineData
from flywheel.report.examples import Examples

RATE = 8000


def sweeps(rows: int, seed: int) -> tuple[pd.DataFrame, Any]:
    """Tones that rise or fall, of any length: their order in time alone tells the class."""
    random = np.random.default_rng(seed)
    target = np.arange(rows) % 2
    clips = []
    for label in target:
        hz = np.linspace(300, 1500, random.integers(2000, 4000)) * random.uniform(0.9, 1.1)
        phase = np.cumsum(hz if label else hz[::-1]) * 2 * np.pi / RATE
        samples = (0.5 * np.sin(phase) + random.normal(0, 0.01, len(phase))).astype(np.float32)
        clips.append(Recording(samples, RATE))
    return pd.DataFrame({"audio": object_column(clips)}), target


@pytest.fixture(params=["log_mel", "mfcc"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> BaselineData:
    made = AudioPreprocessor(sample_rate_hz=RATE, max_seconds=0.5, features=request.param)
    parts: dict[str, Any] = {}
    for seed, (name, rows) in enumerate({"train": 60, "validation": 20, "test": 40}.items()):
        frame, target = sweeps(rows, seed)
        cleaned, dropped = made.clean(frame)
        assert not dropped
        if name == "train":
            made.fit([cleaned])
        save_file(
            {**made.transform(cleaned), "target": target, "row": np.arange(rows)}, tmp_path / f"{name}.safetensors"
        )
        parts[name] = Examples(tmp_path / f"{name}.safetensors", made.meta()["inputs"])
    return BaselineData(**parts, meta={**made.meta(), "num_classes": 2}, preprocessor=made, max_rows=0, seed=0)


def test_clips_are_told_apart_by_what_comes_first(data: BaselineData) -> None:
    scores, note = mfcc_logistic_regression().predict(data)
    assert (scores.argmax(axis=1) == data.test.target).mean() > 0.9
    assert scores.sum(axis=1) == pytest.approx(1)
    assert note.startswith("Logistic regression was fitted on all 60 train rows with 208 means and deviations a row")


def test_statistics_are_of_sound_alone() -> None:
    values = np.random.default_rng(0).normal(size=(1, 9, 2)).astype(np.float32)
    longer = np.concatenate([values, np.full((1, 4, 2), -4, np.float32)], axis=1)
    found = clip_statistics(longer, np.arange(13)[None] < 9)
    np.testing.assert_allclose(found, clip_statistics(values, np.ones((1, 9), bool)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[0, :4], [*values[0].mean(axis=0), *values[0].std(axis=0)], rtol=1e-5)
    change = (values[0, 2:] - values[0, :-2]) / 2
    np.testing.assert_allclose(found[0, 4:8], [*change.mean(axis=0), *change.std(axis=0)], rtol=1e-5, atol=1e-6)


def test_a_task_without_spectra_is_refused(data: BaselineData) -> None:
    quantised = AudioPreprocessor(features="quantised")
    with pytest.raises(ConfigError, match="is for spectra, which this task does not keep"):
        mfcc_logistic_regression().predict(BaselineData(**{**vars(data), "preprocessor": quantised}))

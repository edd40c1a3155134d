from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from safetensors.numpy import save_file

from flywheel.modality.image.baseline import hog, hog_logistic_regression, picture_input
from flywheel.project.errors import ConfigError
from flywheel.report.baseline import BaselineData
from flywheel.report.examples import Examples

INPUTS = {"image": {"dtype": "uint8", "shape": [1, 16, 16], "mean": [128.0], "std": [64.0]}}


def stripes(rows: int, seed: int) -> tuple[Any, Any]:
    """Stripes of any phase, width and contrast, whose direction is the class."""
    random = np.random.default_rng(seed)
    target = np.arange(rows) % 3
    y, x = np.mgrid[:16, :16]
    angle = target[:, None, None] * np.pi / 3
    wave = (x * np.cos(angle) + y * np.sin(angle)) * random.uniform(0.7, 1.1, (rows, 1, 1))
    grey = 128 + random.uniform(20, 100, (rows, 1, 1)) * np.sin(wave + random.uniform(0, 7, (rows, 1, 1)))
    return grey[:, None].astype(np.uint8), target


@pytest.fixture
def data(tmp_path: Path) -> BaselineData:
    parts = {}
    for seed, (name, rows) in enumerate({"train": 150, "validation": 60, "test": 90}.items()):
        images, target = stripes(rows, seed)
        file = tmp_path / f"{name}.safetensors"
        save_file({"image": images, "target": target, "row": np.arange(rows)}, file)
        parts[name] = Examples(file, INPUTS)
    meta = {"inputs": INPUTS, "num_classes": 3}
    return BaselineData(**parts, meta=meta, preprocessor=cast(Any, None), max_rows=0, seed=0)


def test_directions_are_learnt_whatever_the_phase_and_the_contrast(data: BaselineData) -> None:
    scores, note = hog_logistic_regression().predict(data)
    assert (scores.argmax(axis=1) == data.test.target).mean() > 0.95
    assert scores.sum(axis=1) == pytest.approx(1)
    assert note.startswith("Logistic regression was fitted on all 150 train rows with 1,764 histogram")
    assert note.endswith("chosen by log-loss on validation.")
    assert np.array_equal(scores, hog_logistic_regression().predict(data)[0])


def test_a_block_has_the_directions_of_its_edges() -> None:
    edge = np.zeros((1, 1, 14, 14), np.uint8)
    edge[..., 7:] = 200
    blocks = hog(edge).reshape(6, 6, 9, 2, 2)
    assert blocks[:, 0].max() == 0, "no edge, no gradient"
    assert blocks[:, 2, 0].max() > 0.4, "to the right is direction 0"
    assert blocks[:, 2, 1:].max() == 0
    assert np.linalg.norm(blocks[0, 2]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 2, 5), (1, 1, 8, 8), (2, 3, 33, 100)])
def test_pictures_of_any_size_have_gradients(shape: tuple[int, ...]) -> None:
    found = hog(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    assert found.dtype == np.float32
    assert found.shape[0] == shape[0]
    assert 0 < found.shape[1] <= 4 * 9 * 15**2
    assert np.isfinite(found).all()


def test_a_task_without_pictures_is_refused() -> None:
    assert picture_input({"inputs": INPUTS}) == "image"
    with pytest.raises(
        ConfigError, match="is for one input of pictures, this task has 0; use evaluate: classification"
    ):
        picture_input({"inputs": {"numeric": {"dtype": "float32", "shape": [3]}}})

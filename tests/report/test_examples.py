from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from flywheel.project.errors import DataError
from flywheel.project.types import Split
from flywheel.report.examples import Examples, raw_rows

INPUTS = {
    "image": {"dtype": "uint8", "shape": [2, 3, 3], "mean": [100.0, 50.0], "std": [10.0, 5.0]},
    "age": {"dtype": "float32", "shape": [1]},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    image = random.integers(0, 255, (5, 2, 3, 3), dtype=np.uint8)
    age = np.arange(5, dtype=np.float32)[:, None]
    save_file({"image": image, "age": age, "target": np.arange(5), "row": np.arange(5) * 7}, tmp_path / "x.safetensors")
    return tmp_path / "x.safetensors"


def test_features_are_scaled_as_the_network_scales_them(file: Path) -> None:
    from flywheel.model.network import Network

    examples = Examples(file, INPUTS)
    index = np.array([4, 0])
    import torch

    scaled = Network(torch.nn.Identity(), INPUTS).scale(examples.inputs(index))
    expected = torch.cat([scaled["image"].flatten(1), scaled["age"]], dim=1).numpy()
    assert examples.features(index) == pytest.approx(expected, abs=1e-5)
    assert examples.features(index).shape == (2, examples.num_features)


def test_batches_give_every_row_once_and_in_order(file: Path) -> None:
    examples = Examples(file, INPUTS)
    assert np.concatenate([batch["age"].numpy() for batch in examples.batches(2)]).ravel().tolist() == [0, 1, 2, 3, 4]
    assert examples.rows.tolist() == [0, 7, 14, 21, 28]


def test_a_file_without_an_input_names_it(file: Path) -> None:
    with pytest.raises(DataError, match="has no tensor text"):
        Examples(file, {"text": {"shape": [1]}})


def test_raw_rows_are_those_that_are_asked_for_in_their_order() -> None:
    frame = pd.DataFrame({"text": [f"text {n}" for n in range(9)]}, index=range(100, 109))

    def chunks(rows: int) -> Iterator[pd.DataFrame]:
        yield from (frame.iloc[:5], frame.iloc[5:])

    splits: Any = {"train": Split(9, chunks, "tweets.csv")}
    assert raw_rows(splits, np.array([107, 101, 104]))["text"].tolist() == ["text 7", "text 1", "text 4"]
    with pytest.raises(DataError, match=r"tweets\.csv.*row 7.*is a test row, but is not in the raw file"):
        raw_rows(splits, np.array([101, 7]))

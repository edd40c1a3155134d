from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flywheel.project.errors import ModelError
from flywheel.registry.onnx_model import OnnxModel


@pytest.fixture
def file(digits: Any) -> Path:
    return Path(digits.folder / "good/export/fp32.onnx")


def images(rows: int) -> dict[str, np.ndarray[Any, Any]]:
    return {"image": np.random.default_rng(0).integers(0, 256, (rows, 1, 8, 8), dtype=np.uint8)}


def test_neither_batch_nor_threads_change_a_bit(file: Path) -> None:
    wanted = OnnxModel(file, threads=1).scores(images(100), batch_rows=100)
    for threads, batch_rows in ((1, 1), (2, 7), (0, 64)):
        got = OnnxModel(file, threads=threads).scores(images(100), batch_rows=batch_rows)
        assert np.array_equal(got, wanted)


def test_wrong_inputs_are_refused_by_name(file: Path) -> None:
    model = OnnxModel(file)
    with pytest.raises(ModelError, match="input image missing"):
        model.scores({"picture": images(1)["image"]})
    with pytest.raises(ModelError, match="do not fit"):
        model.scores({"image": images(1)["image"].astype(np.float32)})
    with pytest.raises(ModelError, match="do not fit"):
        model.scores({"image": np.zeros((1, 1, 9, 9), np.uint8)})


def test_a_damaged_or_missing_file_is_one_line(tmp_path: Path, file: Path) -> None:
    (tmp_path / "half.onnx").write_bytes(file.read_bytes()[:500])
    for name in ("half.onnx", "none.onnx"):
        with pytest.raises(ModelError, match=name) as raised:
            OnnxModel(tmp_path / name)
        assert "\n" not in str(raised.value)

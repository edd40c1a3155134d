from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from flywheel.preprocessor.pipeline.writer import SafetensorsWriter
from flywheel.project.digest import sha256_of

RNG = np.random.default_rng(0)
TYPES = [
    "uint64", "int64", "float64", "uint32", "int32", "float32", "float16", "uint16", "int16", "int8", "uint8", "bool"
]  # fmt: skip


@pytest.mark.parametrize("rows", [0, 1, 10])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_bytes_are_those_of_save_file(tmp_path: Path, rows: int, chunk: int) -> None:
    names = {f"{kind}{'é' * (i % 2)}": (kind, i % 3 + 1) for i, kind in enumerate(TYPES)}
    arrays = {name: RNG.integers(0, 2, (rows, width, 2)).astype(kind) for name, (kind, width) in names.items()}
    arrays |= {"row": np.arange(rows), "image": RNG.integers(0, 256, (rows, 1, 3, 3), dtype=np.uint8)}
    save_file(arrays, tmp_path / "whole")
    with SafetensorsWriter(tmp_path / "chunks", rows, arrays) as writer:
        for start in range(0, rows, chunk):
            writer.append({name: array[start : start + chunk] for name, array in arrays.items()})
    assert (tmp_path / "chunks").read_bytes() == (tmp_path / "whole").read_bytes()
    for name, array in load_file(tmp_path / "chunks").items():
        np.testing.assert_array_equal(array, arrays[name])


def test_arrays_that_are_not_contiguous_are_written_right(tmp_path: Path) -> None:
    array = RNG.integers(0, 256, (4, 3, 2), dtype=np.uint8).transpose(0, 2, 1)
    with SafetensorsWriter(tmp_path / "a", 4, {"x": array}) as writer:
        writer.append({"x": array})
    np.testing.assert_array_equal(load_file(tmp_path / "a")["x"], array)


def test_missing_rows_and_other_shapes_are_refused(tmp_path: Path) -> None:
    like = {"x": np.zeros((0, 2))}
    with pytest.raises(ValueError, match="1 rows written of 2"), SafetensorsWriter(tmp_path / "a", 2, like) as writer:
        writer.append({"x": np.zeros((1, 2))})
    for wrong in (np.zeros((1, 3)), np.zeros((1, 2), np.float32)):
        with SafetensorsWriter(tmp_path / "b", 0, like) as writer, pytest.raises(ValueError, match="does not follow"):
            writer.append({"x": wrong})


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()

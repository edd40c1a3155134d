from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flywheel.monitor.reference import Reference
from flywheel.project.errors import DataError


@pytest.fixture
def made() -> Reference:
    numbers = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    kinds = np.array(["a", "b", "ü"] * 1000, dtype=object)
    return Reference.of({"number": numbers, "kind": kinds}, {"label": kinds}, "f" * 64)


def test_what_is_read_is_what_was_written_and_small(made: Reference, tmp_path: Path) -> None:
    file = tmp_path / "reference.safetensors"
    made.save(file)
    again = Reference.load(file)
    assert again.model_sha256 == made.model_sha256
    assert list(again.inputs) == ["number", "kind"]
    window = np.random.default_rng(1).normal(size=200).astype(np.float32)
    assert again.inputs["number"].distance(window) == made.inputs["number"].distance(window)
    assert again.answers["label"].to_json() == made.answers["label"].to_json()
    assert file.stat().st_size < 4000
    first = file.read_bytes()
    again.save(file)
    assert file.read_bytes() == first


def test_a_reference_of_categories_alone_can_be_kept(tmp_path: Path) -> None:
    kinds = np.array(["a", "b"], dtype=object)
    Reference.of({"kind": kinds}, {}, "x").save(tmp_path / "r")
    assert Reference.load(tmp_path / "r").inputs["kind"].num_rows == 2


@pytest.mark.parametrize("content", [b"", b"no safetensors at all", None])
def test_a_damaged_or_missing_one_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "reference.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match="missing" if content is None else "is not a reference"):
        Reference.load(file)


def test_another_format_is_refused(made: Reference, tmp_path: Path) -> None:
    file = tmp_path / "reference.safetensors"
    made.save(file)
    file.write_bytes(file.read_bytes().replace(b'\\"format\\": 1', b'\\"format\\": 9'))
    with pytest.raises(DataError, match="format 9, this version reads 1"):
        Reference.load(file)

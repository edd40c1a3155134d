from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WriteIdx = Callable[..., Path]


@pytest.fixture
def fixtures(root: Path) -> Path:
    return root / "tests/fixtures"


@pytest.fixture
def write_idx(tmp_path: Path) -> WriteIdx:
    """Write an array in the IDX format; `cut` bytes are taken off its end."""

    def write(name: str, array: np.ndarray[Any, Any], *, cut: int = 0, code: int = 8) -> Path:
        dimensions = struct.pack(f">{array.ndim}I", *array.shape)
        content = b"\0\0" + bytes([code, array.ndim]) + dimensions + array.tobytes()
        content = content[: len(content) - cut]
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write

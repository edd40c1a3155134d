from __future__ import annotations

import gzip
import io
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flywheel.project.config import ReaderConfig, TaskConfig
from flywheel.project.params import task_from


@pytest.fixture(scope="session")
def fixtures(root: Path) -> Path:
    return root / "tests/fixtures"


@pytest.fixture(scope="session")
def composed(root: Path) -> Callable[[str], TaskConfig]:
    """The settings of a task as conf/ composes them."""
    from flywheel.project.compose import compose_task

    made = {name: task_from(compose_task(root, [f"task={name}"]), name) for name in ("fashion", "digits", "mnist5k")}
    return made.__getitem__


@pytest.fixture
def make_task(composed: Callable[[str], TaskConfig]) -> Callable[..., TaskConfig]:
    """A task over IDX files; `reader` replaces the reader's arguments, other arguments those of `preprocess`."""

    def make(*, name: str = "toy", reader: dict[str, Any] | None = None, **preprocess: Any) -> TaskConfig:
        base = composed("digits")
        read = {
            "_target_": "flywheel.modality.image.data.idx.IdxReader",
            "train_images": "train-images",
            "train_labels": "train-labels",
            **(reader or {}),
        }
        target = {"_target_": "flywheel.preprocessor.target.ClassTarget"}
        inputs = {
            "_target_": "flywheel.modality.image.data.preprocessor.ImagePreprocessor",
            **preprocess.pop("inputs", {}),
        }
        data = replace(base.data, title="Toy", reader=ReaderConfig(read))
        settings = replace(base.preprocess, **{"target": target, "inputs": inputs, **preprocess})
        return replace(base, name=name, data=data, preprocess=settings)

    return make


WITH_TEST = {"test_images": "test-images", "test_labels": "test-labels"}


@pytest.fixture
def with_test() -> dict[str, Any]:
    """Arguments of an IdxReader with an official test split."""
    return dict(WITH_TEST)


@pytest.fixture
def write_raw(tmp_path: Path) -> Callable[..., Path]:
    """Write pairs of IDX files; keyword arguments are `train=(images, labels)`, `test=(images, labels)`."""

    def write(**splits: tuple[Any, Any]) -> Path:
        folder = tmp_path / "raw"
        folder.mkdir(exist_ok=True)
        for name, (images, labels) in splits.items():
            for kind, values in (("images", images), ("labels", labels)):
                array = np.asarray(values, dtype=np.uint8)
                header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
                (folder / f"{name}-{kind}").write_bytes(header + array.tobytes())
        return folder

    return write


@pytest.fixture
def pictures() -> Callable[..., np.ndarray[Any, Any]]:
    """Random pictures, all different."""

    def make(count: int, height: int = 4, width: int = 4, seed: int = 0) -> np.ndarray[Any, Any]:
        return np.random.default_rng(seed).integers(0, 256, (count, height, width), dtype=np.uint8)

    return make


@pytest.fixture
def png() -> Callable[[Any], bytes]:
    """Encode an array."""

    def encode(array: Any) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(array, dtype=np.uint8)).save(buffer, "PNG")
        return buffer.getvalue()

    return encode


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file of a folder, by name."""
    return lambda folder: {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def load_json() -> Callable[[Path], Any]:
    """Read a JSON file."""
    return lambda path: json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def gunzip() -> Callable[[Path], bytes]:
    """Unpack a file."""
    return lambda path: gzip.decompress(path.read_bytes())

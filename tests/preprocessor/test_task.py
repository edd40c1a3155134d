from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.preprocessor.target import ClassTarget
from flywheel.preprocessor.task import TaskPreprocessor, load_preprocessor
from flywheel.project.errors import ConfigError, DataError

FRAME = pd.DataFrame({"image": [np.eye(3, dtype=np.uint8) * v for v in (10, 200)], "label": ["no", "yes"]})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    preprocessor = TaskPreprocessor(ImagePreprocessor(), ClassTarget())
    preprocessor.inputs.fit([FRAME])
    preprocessor.target.fit([FRAME["label"]])
    preprocessor.save(tmp_path / "preprocessor.json")
    return tmp_path / "preprocessor.json"


def test_saved_and_loaded_is_the_same(saved: Path, tmp_path: Path) -> None:
    loaded = load_preprocessor(saved)
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == saved.read_bytes()
    assert loaded.transform(FRAME)["image"].shape == (2, 1, 3, 3)
    assert loaded.encode(FRAME).tolist() == [0, 1]
    assert loaded.decode(np.array([[0.25, 0.75]]))["label"].tolist() == ["yes"]


def test_frame_without_labels_cannot_be_encoded(saved: Path) -> None:
    with pytest.raises(DataError, match=r"has no column 'label'"):
        load_preprocessor(saved).encode(FRAME[["image"]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2, this version reads 1"),
        ({"inputs": None}, "has no 'inputs'"),
        ({"table": {"delimiter": ";"}}, "its 'table' does not describe a table"),
        ({"table": {"encoding": "klingon"}}, "its 'table' does not describe a table"),
        ({"table": 7}, "its 'table' does not describe a table"),
        ({"target": {"_target_": "flywheel.modality.image.data.preprocessor.ImagePreprocessor"}}, "is not .*Target;"),
        ({"inputs": {"_target_": "flywheel.preprocessor.task.load_preprocessor"}}, "is not .*Preprocessor;"),
    ],
)
def test_other_contents_are_refused(saved: Path, change: dict[str, Any], message: str) -> None:
    saved.write_text(json.dumps(json.loads(saved.read_text()) | change))
    with pytest.raises((DataError, ConfigError), match=message):
        load_preprocessor(saved)


def test_target_outside_the_allow_list_is_refused(saved: Path) -> None:
    saved.write_text(json.dumps({"format": 1, "inputs": {"_target_": "subprocess.Popen"}, "target": {}}))
    with pytest.raises(ConfigError, match=r"target 'subprocess\.Popen' is not allowed"):
        load_preprocessor(saved)


def test_missing_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing; run the preprocess stage"):
        load_preprocessor(tmp_path / "a.json")
    for content in ("{", "[]"):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(DataError, match=r"is not JSON|has format None"):
            load_preprocessor(tmp_path / "a.json")

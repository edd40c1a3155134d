"""What is held out, as feedback is compared with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from flywheel.feedback.frozen import network_digests, read_frozen
from flywheel.modality.tabular.data.preprocessor import TabularPreprocessor
from flywheel.project.types import SPLITS, Split


def test_a_row_of_train_and_one_of_test_share_their_inputs_whatever_groups_test_has(tmp_path: Path) -> None:
    meta: dict[str, Any] = {"target": {"kind": "class"}, "sha256": dict.fromkeys(SPLITS, "a" * 64)}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    (tmp_path / "profile.json").write_text(json.dumps({"raw": {"train": 9}}))
    for number, name in enumerate(SPLITS):
        arrays = {"numeric": np.array([[number], [7 if name != "validation" else 8]], np.float32),
                  "target": np.zeros(2, np.int64), "row": np.arange(2, dtype=np.int64)}  # fmt: skip
        groups = {"group": np.arange(2, dtype=np.int32)} if name == "test" else {}
        save_file(arrays | groups, tmp_path / f"{name}.safetensors")
    inputs = TabularPreprocessor()
    inputs.fit([pd.DataFrame({"x": ["1", "2"], "label": "a"})])
    split = Split(9, lambda _: iter([]), "t.csv")
    found = read_frozen(tmp_path, {"train": split}, inputs, keeps_equal=True)
    assert found.shared == set(network_digests({"numeric": np.full((1, 1), 7, np.float32)}))

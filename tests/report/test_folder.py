from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from flywheel.report.classification import ClassificationReport
from flywheel.report.folder import metrics_of
from flywheel.report.predictions import write_predictions


def test_metrics_are_flat_rounded_and_carry_the_join_key(make_evidence: Callable[..., Any]) -> None:
    evidence = make_evidence()
    found = metrics_of(ClassificationReport(list("abcd")), evidence, "f00")
    assert found["model_sha256"] == "f00"
    assert found["num_test"] == 300
    assert found["accuracy_low"] <= found["accuracy"] <= found["accuracy_high"]
    rival = found["baseline"]["logistic_regression"]
    assert rival["accuracy_difference"] == pytest.approx(found["accuracy"] - rival["accuracy"], abs=1e-6)
    assert rival["accuracy_difference_low"] < rival["accuracy_difference_high"]
    numbers = [value for value in [*found.values(), *rival.values()] if isinstance(value, float)]
    assert all(len(f"{value:.15g}".replace("0.", "").strip("0")) <= 6 for value in numbers)
    assert "undefined" not in found


def test_an_undefined_metric_is_null_with_its_reason(make_evidence: Callable[..., Any]) -> None:
    scores = np.tile(np.array([0.7, 0.1, 0.1, 0.1], dtype=np.float32), (10, 1))
    evidence = make_evidence(target=np.zeros(10, dtype=np.int64), scores=scores, baselines=[])
    found = metrics_of(ClassificationReport(list("abcd")), evidence, "f00")
    assert json.loads(json.dumps(found, allow_nan=False))["auc"] is None
    assert found["undefined"] == {"auc": "the test set holds one class only"}


def test_equal_predictions_give_equal_bytes(tmp_path: Path) -> None:
    p = np.array([0.1, 0.2, 0.3], dtype=np.float32)
    columns: dict[str, Any] = {"row": np.arange(3), "label": np.array(["a", "b", "a"], dtype=object), "p": p}
    for name in ("one", "two"):
        write_predictions(columns, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    table = pq.read_table(tmp_path / "one")
    assert table.to_pydict() == {"row": [0, 1, 2], "label": ["a", "b", "a"], "p": p.tolist()}
    assert str(table.schema.field("p").type) == "float"

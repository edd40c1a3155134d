from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flywheel.report.calibration import reliability_frame, reliability_picture


def test_bins_hold_every_row_once_and_agree_with_the_calibration_error(make_evidence: Callable[..., Any]) -> None:
    evidence = make_evidence()
    frame = reliability_frame(evidence.target, evidence.scores)
    assert frame["num_rows"].sum() == evidence.num_rows
    assert ((frame["bin_low"] < frame["confidence"]) & (frame["confidence"] <= frame["bin_high"])).all()
    gap = (frame["num_rows"] * (frame["accuracy"] - frame["confidence"]).abs()).sum() / evidence.num_rows
    assert gap == pytest.approx(evidence.model.measured.metrics["ece"].value)


def test_a_bin_holds_its_upper_edge() -> None:
    scores = np.array([[0.6, 0.4], [1.0, 0.0]])
    frame = reliability_frame(np.array([0, 0]), scores)
    assert frame["bin_high"].tolist() == pytest.approx([0.6, 1.0])


def test_picture_says_in_words_what_it_shows() -> None:
    scores = np.array([[0.9, 0.1]] * 4)
    frame = reliability_frame(np.array([0, 0, 0, 1]), scores)
    assert "confidence 90%: right in 75%" in reliability_picture(frame, 0.15).alt

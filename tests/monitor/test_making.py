from __future__ import annotations

from typing import Any

from flywheel.modality.joint.data.preprocessor import JointPreprocessor
from flywheel.monitor.making import splits_of


def test_rows_of_train_stand_in_a_reference_unless_they_are_unlike_requests(kinds: dict[str, Any]) -> None:
    both, held = ("train", "validation"), ("validation",)
    assert splits_of(kinds["image"].inputs) == splits_of(kinds["tabular"].inputs) == both
    assert splits_of(kinds["text"].inputs) == splits_of(kinds["interactions"].inputs) == held
    parts = {"picture": kinds["image"].inputs, "words": kinds["text"].inputs}
    assert splits_of(JointPreprocessor(parts)) == held
    assert splits_of(JointPreprocessor({"picture": kinds["image"].inputs})) == both

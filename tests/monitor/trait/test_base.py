from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.modality.joint.data.preprocessor import JointPreprocessor
from flywheel.monitor.trait.base import answer_traits, categories, module_of, row_traits, same_label
from flywheel.preprocessor.target import ClassTarget

KINDS = ("image", "text", "audio", "tabular", "interactions")


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_row_has_traits_of_its_own_and_always_the_same(name: str, kinds: dict[str, Any]) -> None:
    kind = kinds[name]
    frame = kind.rows(30, False)
    assert module_of(type(kind.inputs)).__name__ == f"flywheel.modality.{name}.traits"
    found, again = row_traits(kind.inputs, frame), row_traits(kind.inputs, frame.iloc[::-1])
    assert len(found) >= 4
    for trait, values in found.items():
        assert values.shape == (30,), trait
        assert values.dtype in (np.float32, object)
        assert np.array_equal(values, again[trait][::-1], equal_nan=values.dtype != object), trait


def test_a_kind_without_traits_of_its_own_has_those_of_its_parent_or_of_its_arrays(kinds: dict[str, Any]) -> None:
    class Subclass(ImagePreprocessor):
        pass

    class Stranger:
        def clean(self, frame: pd.DataFrame) -> Any:
            return frame, []

        def transform(self, frame: pd.DataFrame) -> Any:
            return {"wave": np.arange(len(frame) * 4, dtype=np.float32).reshape(len(frame), 4)}

    assert module_of(Subclass).__name__ == "flywheel.modality.image.traits"
    found = row_traits(Stranger(), pd.DataFrame({"x": range(3)}))  # type: ignore[arg-type]
    assert found["wave: mean"].tolist() == [1.5, 5.5, 9.5]
    assert "wave: pattern 1" in found


def test_rows_that_cannot_be_used_are_left_out(kinds: dict[str, Any]) -> None:
    frame = pd.DataFrame({"text": ["fine", "", None]})
    assert len(row_traits(kinds["text"].inputs, frame)["words"]) == 1
    assert row_traits(kinds["text"].inputs, frame.iloc[1:]) == {}


def test_answers_that_are_classes_have_label_and_probability() -> None:
    answers = pd.DataFrame({"label": ["a", "b"], "probability": [0.9, 0.6]})
    found = answer_traits(ClassTarget(["a", "b"]), answers)
    assert found["label"].tolist() == ["a", "b"]
    assert found["probability"].dtype == np.float32


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("3", 3, True), (3.0, "3", True), (" a", "a ", True), ("a", "b", False), ("true", "TRUE", True)],
)
def test_labels_are_the_same_however_they_are_written(one: Any, other: Any, same: bool) -> None:
    assert same_label(one, other) is same


def test_a_missing_category_is_one() -> None:
    assert categories(["a", None, float("nan")]).tolist() == ["a", "(missing)", "(missing)"]


def test_the_traits_of_several_preprocessors_stand_side_by_side(kinds: dict[str, Any]) -> None:
    joint = JointPreprocessor({"picture": kinds["image"].inputs, "words": kinds["text"].inputs})
    frame = kinds["image"].rows(5, False).assign(text=kinds["text"].rows(5, False)["text"])
    found = row_traits(joint, frame)
    assert {"picture: brightness", "words: unknown words"} <= set(found)
    alone = row_traits(kinds["image"].inputs, frame)
    assert np.array_equal(found["picture: brightness"], alone["brightness"])

"""JointPreprocessor over real parts of two modalities: pictures, and texts in two columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.modality.joint.data.preprocessor import JointPreprocessor, inputs_of
from flywheel.preprocessor.target import ClassTarget
from flywheel.preprocessor.task import TaskPreprocessor, load_preprocessor
from flywheel.project.errors import ConfigError, DataError
from flywheel.project.instantiate import build
from flywheel.project.kind import PREPROCESSOR


def words(column: str, **given: Any) -> dict[str, Any]:
    tokeniser = {"_target_": "flywheel.modality.text.data.tokeniser.word.WordTokeniser", "vocabulary_size": 20}
    node = {"_target_": "flywheel.modality.text.data.preprocessor.TextPreprocessor", "column": column, "max_length": 4}
    return {**node, "tokeniser": tokeniser, **given}


IMAGE = {"_target_": "flywheel.modality.image.data.preprocessor.ImagePreprocessor"}


def make(parts: dict[str, Any] | None = None, **given: Any) -> JointPreprocessor:
    node = {"_target_": "flywheel.modality.joint.data.preprocessor.JointPreprocessor", **given}
    node["parts"] = {"photo": IMAGE, "caption": words("caption")} if parts is None else parts
    made = build(node, PREPROCESSOR, where="preprocess.inputs")
    assert isinstance(made, JointPreprocessor)
    return made


class Probe(ImagePreprocessor):
    """Remembers which columns it was shown."""

    def clean(self, frame: pd.DataFrame) -> Any:
        self.seen = list(frame.columns)
        return super().clean(frame)


@pytest.fixture
def frame(pictures: Callable[..., Any]) -> pd.DataFrame:
    captions = ["a red cat", "a blue dog", "a red dog", "the cat"]
    made = pd.DataFrame({"caption": captions, "label": ["cat", "dog", "dog", "cat"]}, index=[10, 11, 12, 13])
    made.insert(0, "image", list(pictures(4)))
    return made


@pytest.fixture
def fitted(frame: pd.DataFrame) -> JointPreprocessor:
    made = make()
    made.fit([frame])
    return made


def test_inputs_and_meta_carry_the_part_s_name(fitted: JointPreprocessor, frame: pd.DataFrame) -> None:
    inputs = fitted.transform(frame)
    assert {name: array.shape for name, array in inputs.items()} == {
        "photo_image": (4, 1, 4, 4),
        "caption_tokens": (4, 4),
    }
    meta = fitted.meta()
    assert list(meta["inputs"]) == list(inputs)
    assert meta["inputs"]["caption_tokens"]["padding"] == 0
    assert "mean" in meta["inputs"]["photo_image"]
    assert (meta["photo_num_channels"], meta["caption_sequence_length"]) == (1, 4)
    assert list(inputs_of("photo", inputs)) == ["image"]


def test_a_part_gives_what_it_gives_alone(fitted: JointPreprocessor, frame: pd.DataFrame) -> None:
    alone = build(words("caption"), PREPROCESSOR, where="here")
    alone.fit([frame])
    np.testing.assert_array_equal(fitted.transform(frame)["caption_tokens"], alone.transform(frame)["tokens"])


def test_the_chunks_change_nothing_nor_does_an_iterator(fitted: JointPreprocessor, frame: pd.DataFrame) -> None:
    once = make()
    once.fit(frame.iloc[[row]] for row in range(4))  # can be gone through only once
    assert once.to_json() == fitted.to_json()


def test_rows_are_dropped_by_the_first_part_that_cannot_use_them(frame: pd.DataFrame) -> None:
    frame = frame.assign(error=[None, None, None, "is torn"])
    frame.at[11, "image"] = b"no picture"
    frame.at[12, "caption"] = None
    kept, dropped = make().clean(frame)
    assert list(kept.index) == [10]
    assert list(kept.columns) == ["image", "caption", "label"]
    assert [drop.row for drop in sorted(dropped, key=lambda drop: drop.row)] == [11, 12, 13]
    assert {drop.why for drop in dropped} >= {"is torn", "text is missing"}


def test_rows_are_equal_where_all_parts_are(frame: pd.DataFrame) -> None:
    joint = make()
    more = pd.concat([frame, frame.iloc[[0, 0, 0]]], ignore_index=True)
    more.at[5, "caption"] = "a red bird"
    more.at[6, "image"] = 255 - more.at[6, "image"]
    kept, _ = joint.clean(more)
    digests = joint.digest(kept)
    assert digests.shape == (7, 2)
    assert (digests[4] == digests[0]).all()
    assert (digests[5] != digests[0]).any()
    assert (digests[6] != digests[0]).any()


def test_near_duplicates_are_near_in_every_part(frame: pd.DataFrame) -> None:
    joint = make()
    more = pd.concat([frame, frame.iloc[[0, 0]]], ignore_index=True)
    more["caption"] = more["caption"].where(more.index < 4, "A red cat!")
    more.at[5, "image"] = 255 - more.at[5, "image"]
    kept, _ = joint.clean(more)
    near = joint.near(kept)
    assert near is not None
    assert (near.dtype, near.shape) == (np.uint64, (6,))
    assert near[4] == near[0]
    assert near[5] != near[0]
    assert make({"photo": IMAGE, "other": IMAGE}).near(kept) is None


def test_it_is_rebuilt_from_json_with_what_it_learnt(
    fitted: JointPreprocessor, frame: pd.DataFrame, tmp_path: Path
) -> None:
    target = ClassTarget(["cat", "dog"])
    TaskPreprocessor(fitted, target).save(tmp_path / "preprocessor.json")
    again = load_preprocessor(tmp_path / "preprocessor.json").inputs
    assert again.to_json() == fitted.to_json()
    for name, array in again.transform(frame).items():
        np.testing.assert_array_equal(array, fitted.transform(frame)[name])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"parts": {"a": {"_target_": "flywheel.preprocessor.target.ClassTarget"}}}, "is not .*Preprocessor;"),
        ({"parts": {}}, "parts are empty"),
        ({"parts": None}, "not a JointPreprocessor's"),
        (
            {"parts": {"a": {"_target_": "flywheel.modality.image.data.preprocessor.ImagePreprocessor"}}},
            "not an ImagePreprocessor's",
        ),
    ],
)
def test_a_damaged_state_is_one_line(fitted: JointPreprocessor, change: dict[str, Any], why: str) -> None:
    with pytest.raises((DataError, ConfigError), match=why):
        JointPreprocessor.from_json({**fitted.to_json(), **change})


def test_one_request_names_the_columns_of_all(fitted: JointPreprocessor) -> None:
    schema = fitted.schema()
    assert list(schema["properties"]) == ["image", "caption"]
    assert schema["required"] == ["image", "caption"]


def test_a_column_may_serve_two_parts(frame: pd.DataFrame) -> None:
    joint = make({"short": words("caption", max_length=2), "long": words("caption")})
    joint.fit([frame])
    assert list(joint.schema()["properties"]) == ["caption"]
    assert joint.schema()["required"] == ["caption"]
    assert {name: array.shape[1] for name, array in joint.transform(frame).items()} == {
        "short_tokens": 2,
        "long_tokens": 4,
    }


def test_a_preview_shows_the_picture_and_every_text(fitted: JointPreprocessor, frame: pd.DataFrame) -> None:
    shown = fitted.preview(fitted.transform(frame), 0)
    assert shown.image is not None
    np.testing.assert_array_equal(shown.image, frame["image"].iloc[0])
    assert shown.text == "a red cat"
    assert fitted.words(frame.iloc[:1]) == [frame["caption"].iloc[0]]


def test_requests_are_read_from_a_table_with_all_columns(
    fitted: JointPreprocessor, frame: pd.DataFrame, tmp_path: Path, png: Callable[[Any], bytes]
) -> None:
    frame = frame.assign(image=[png(image) for image in frame["image"]]).reset_index(drop=True)
    frame.to_parquet(tmp_path / "new.parquet")
    requests = fitted.read_requests([tmp_path / "new.parquet"])
    assert {"image", "caption", "file", "row"} <= set(requests.columns)
    np.testing.assert_array_equal(
        fitted.transform(requests)["caption_tokens"], fitted.transform(frame)["caption_tokens"]
    )


def test_parts_that_read_other_rows_are_told(fitted: JointPreprocessor, tmp_path: Path) -> None:
    (tmp_path / "pixels.csv").write_text("1,2,3\n")
    with pytest.raises(DataError, match=r"pixels\.csv"):
        fitted.read_requests([tmp_path / "pixels.csv"])


def test_columns_keep_parts_apart(frame: pd.DataFrame) -> None:
    parts = {"photo": Probe(), "caption": build(words("caption"), PREPROCESSOR, where="here")}
    JointPreprocessor(parts, {"caption": ["caption"]}).clean(frame)
    assert parts["photo"].seen == ["image", "label"]
    JointPreprocessor(parts, {"photo": ["image"]}).clean(frame)
    assert parts["photo"].seen == ["image", "label"]
    with pytest.raises(DataError, match="no column 'caption'"):  # what one part is given, no other sees
        JointPreprocessor(parts, {"photo": ["image", "caption"]}).clean(frame)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"parts": {}}, "parts are empty"),
        ({"parts": {"a b": IMAGE}}, "'a b' is not a plain word"),
        ({"parts": {"a": IMAGE, "a_b": IMAGE}}, "'a' and 'a_b' cannot be told apart"),
        ({"parts": {"a": 3}}, "part 'a' is not a Preprocessor but a int"),
        ({"columns": {"sound": ["x"]}}, "'sound', which is not one of the parts photo, caption"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        make(**given)


def test_pictures_and_a_table_make_one_row_of_inputs(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame = frame.drop(columns="caption").assign(age=["3", "5", "4", "6"], colour=["red", "blue", "red", "blue"])
    frame.at[12, "age"] = "old"
    table = {"_target_": "flywheel.modality.tabular.data.preprocessor.TabularPreprocessor", "types": {"age": "number"}}
    joint = make({"photo": IMAGE, "facts": table}, columns={"photo": ["image"]})
    kept, dropped = joint.clean(frame)
    assert [drop.row for drop in dropped] == [12]
    assert joint.digest(kept).shape == (3, 2)
    joint.fit([frame.loc[kept.index]])
    inputs = joint.transform(frame.loc[kept.index])
    assert {name: (array.dtype.name, array.shape) for name, array in inputs.items()} == {
        "photo_image": ("uint8", (3, 1, 4, 4)),
        "facts_numeric": ("float32", (3, 1)),
        "facts_categories": ("int32", (3, 1)),
    }
    assert list(joint.schema()["properties"]) == ["image", "age", "colour"]
    shown = joint.preview(inputs, 0)
    assert shown.image is not None
    assert "age: 3" in (shown.text or "")
    TaskPreprocessor(joint, ClassTarget(["cat", "dog"])).save(tmp_path / "preprocessor.json")
    again = load_preprocessor(tmp_path / "preprocessor.json")
    request = pd.DataFrame({"colour": ["blue"], "age": [4], "image": [frame["image"].iloc[0]]})
    np.testing.assert_array_equal(again.transform(request)["facts_numeric"], [[4.0]])


def test_what_parts_count_and_learn_is_told_by_part(fitted: JointPreprocessor, frame: pd.DataFrame) -> None:
    kept, _ = fitted.clean(frame)
    counted = fitted.statistics(kept, fitted.transform(frame))
    assert all(name.startswith(("photo_", "caption_")) for name in counted)
    json.dumps({name: np.asarray(value).tolist() for name, value in counted.items()})
    assert set(fitted.facts()) <= {"photo", "caption"}

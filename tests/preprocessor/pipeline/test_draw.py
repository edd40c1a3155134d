from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.preprocessor.base import Preprocessor
from flywheel.preprocessor.pipeline.draw import fold_rows, grouped, stratified
from flywheel.preprocessor.pipeline.engine import LocalEngine
from flywheel.preprocessor.pipeline.splitter import PARTS, SplitPlan, make_plan
from flywheel.preprocessor.pipeline.survey import Survey, Vocabulary, survey
from flywheel.preprocessor.target import ClassTarget
from flywheel.project.config import PreprocessConfig
from flywheel.project.errors import ConfigError, DataError
from flywheel.project.types import Dropped, Json, Preview, Split


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize("share", [0.1, 0.2, 1 / 3, 0.5])
def test_every_class_gives_its_share(share: float) -> None:
    codes = np.repeat([0, 1, 2, 5], [1000, 10, 37, 2])
    drawn = stratified(codes, share, generator())
    assert len(np.unique(drawn)) == len(drawn)
    assert (np.diff(drawn) > 0).all()
    assert abs(len(drawn) - share * len(codes)) <= 1.5
    for code in (0, 1, 2, 5):
        size, number = (codes == code).sum(), (codes[drawn] == code).sum()
        assert abs(number - share * size) <= 1
        assert 1 <= number < size


def test_total_is_exact_where_classes_are_large_enough() -> None:
    codes = np.repeat(np.arange(7), 99)
    assert len(stratified(codes, 0.2, generator())) == round(0.2 * 693)


def test_seed_decides_and_nothing_else() -> None:
    codes = np.tile([0, 1, 2], 100)
    first = stratified(codes, 0.2, generator(1))
    np.testing.assert_array_equal(first, stratified(codes, 0.2, generator(1)))
    assert (first != stratified(codes, 0.2, generator(2))).any()


class Words(Preprocessor):
    """Texts as they are; near-duplicates are equal but for their case."""

    def fit(self, chunks: Any) -> None: ...

    def clean(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Dropped]]:
        return frame, []

    def near(self, frame: pd.DataFrame) -> Any:
        return np.array([zlib.crc32(text.lower().encode()) for text in frame["text"]], np.uint64)

    def transform(self, frame: pd.DataFrame) -> dict[str, Any]:
        raise NotImplementedError

    def meta(self) -> Json:
        raise NotImplementedError

    def schema(self) -> Json:
        raise NotImplementedError

    def preview(self, inputs: dict[str, Any], index: int) -> Preview:
        raise NotImplementedError

    def read_requests(self, paths: Any) -> pd.DataFrame:
        raise NotImplementedError

    def to_json(self) -> Json:
        raise NotImplementedError

    @classmethod
    def from_json(cls, state: Json) -> Preprocessor:
        raise NotImplementedError


def surveyed(frame: pd.DataFrame, name: str = "train", words: Vocabulary | None = None) -> Survey:
    split = Split(len(frame), lambda rows: iter([frame]), f"{name}.csv")
    return survey(name, LocalEngine({name: split}), Words(), ClassTarget(), words or Vocabulary(), 100_000)


def planned(frame: pd.DataFrame, **settings: Any) -> SplitPlan:
    words = Vocabulary()
    node: Json = {"_target_": "none"}
    found = {"train": surveyed(frame, words=words)}
    return make_plan(found, len(frame), words.names, PreprocessConfig("none", node, node, **settings))


def spoken(num_voices: int = 20, clips: int = 10) -> pd.DataFrame:
    rows = [
        (f"{voice} says {digit}", digit, f"voice {voice:02}") for voice in range(num_voices) for digit in range(clips)
    ]
    return pd.DataFrame(rows, columns=["text", "label", "group"])


def test_no_group_is_torn_apart_and_each_part_gets_its_share() -> None:
    frame = spoken()
    parts = planned(frame, validation=0.2, test=0.2).parts["train"]
    held = frame.assign(part=parts).groupby("group")["part"].nunique()
    assert (held == 1).all()
    assert {name: int((parts == code).sum()) for name, code in PARTS.items()} == {
        "train": 130, "validation": 30, "test": 40
    }  # fmt: skip


def test_a_single_group_stays_in_train() -> None:
    assert grouped(np.array([0, 1, 0]), np.array([7, 7, 7]), 0.3, generator()).tolist() == []


def test_groups_of_one_are_drawn_with_every_class_in_its_share() -> None:
    codes = np.repeat([0, 1, 2], [500, 100, 20])
    drawn = grouped(codes, np.arange(620), 0.2, generator())
    assert np.bincount(codes[drawn]).tolist() == [100, 20, 4]


def test_near_duplicates_share_a_part() -> None:
    texts = [f"{chr(97 + k % 26)}{chr(97 + k // 26)}{k}" for k in range(200)]
    frame = pd.DataFrame({"text": [*texts, *map(str.upper, texts)], "label": [k % 2 for k in range(200)] * 2})
    plan = planned(frame)
    near = Words().near(frame)
    parts = plan.parts["train"]
    for value in np.unique(near):
        assert len(set(parts[near == value].tolist())) == 1
    assert (parts == PARTS["test"]).sum() == pytest.approx(80, abs=4)


def test_train_rows_nearly_equal_to_a_row_of_the_official_test_are_dropped_and_counted() -> None:
    words = Vocabulary()
    train = pd.DataFrame({"text": ["one", "ONE", "two", "three", "four", "six"], "label": list("ababab")})
    test = pd.DataFrame({"text": ["One", "five"], "label": list("ab")})
    found = {"train": surveyed(train, words=words), "test": surveyed(test, "test", words)}
    node: Json = {"_target_": "none"}
    plan = make_plan(found, 6, words.names, PreprocessConfig("none", node, node, validation=0.5, overlap="drop"))
    assert plan.duplicates["near_train_in_test"].rows.tolist() == [0, 1]
    assert (plan.parts["train"][:2] == -1).all()
    assert (plan.parts["test"] == PARTS["test"]).all()


@pytest.mark.parametrize("num_folds", [2, 5])
def test_folds_hold_every_row_once_and_leave_test_alone(num_folds: int) -> None:
    frame = pd.DataFrame({"text": [str(k) * 3 for k in range(300)], "label": [k % 3 for k in range(300)]})
    frame["text"] += [chr(200 + k) for k in range(300)]
    plans = [planned(frame, fold=fold, num_folds=num_folds).parts["train"] for fold in range(num_folds)]
    for parts in plans[1:]:
        np.testing.assert_array_equal(parts == PARTS["test"], plans[0] == PARTS["test"])
    times = sum((parts == PARTS["validation"]).astype(int) for parts in plans)
    assert set(times[plans[0] != PARTS["test"]].tolist()) == {1}


def test_one_fold_a_group_leaves_each_group_out_in_the_order_of_names() -> None:
    frame = spoken(num_voices=6)
    train = surveyed(frame)
    for fold in range(6):
        rows = fold_rows(np.arange(60), train, fold, 0, generator())
        assert frame["group"][rows].unique().tolist() == [f"voice {fold:02}"]


def test_a_fold_that_is_not_there_is_refused() -> None:
    train = surveyed(spoken(num_voices=6))
    with pytest.raises(ConfigError, match=r"fold: there is no fold 6; folds are 0 to 5"):
        fold_rows(np.arange(60), train, 6, 0, generator())
    with pytest.raises(DataError, match="has no groups to make folds of; give the reader a group"):
        fold_rows(np.arange(60), surveyed(spoken().drop(columns="group")), 0, 0, generator())


def test_folds_are_refused_where_the_data_have_their_own_validation() -> None:
    words = Vocabulary()
    found = {name: surveyed(spoken(4), name, words) for name in ("train", "validation", "test")}
    node: Json = {"_target_": "none"}
    with pytest.raises(ConfigError, match=r"preprocess.fold: the data set has its own validation part"):
        make_plan(found, 40, words.names, PreprocessConfig("none", node, node, fold=0))


def test_a_class_of_one_group_stays_in_train() -> None:
    frame = spoken()
    frame.loc[frame["group"] == "voice 03", "label"] = 99
    parts = planned(frame, validation=0.2, test=0.2).parts["train"]
    assert (parts[frame["label"] == 99] == PARTS["train"]).all()


def test_rows_without_a_group_are_groups_of_their_own() -> None:
    frame = spoken(num_voices=4)
    frame["group"] = frame["group"].astype(object)
    frame.loc[frame.index % 4 == 0, "group"] = None
    frame.loc[frame.index % 4 == 1, "group"] = " "
    units = surveyed(frame).units
    assert units is not None
    assert len(np.unique(units[frame.index % 4 < 2])) == 20
    assert len(np.unique(units)) == 24

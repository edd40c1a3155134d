from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.project.errors import DataError
from flywheel.project.types import Split
from flywheel.registry.evidence import TestScores, raw_example, read_scores, read_target, rescored, stored_scores


def split(images: Any, first_row: int = 0, errors: list[str | None] | None = None) -> Split:
    """A raw split of pictures."""
    frame = pd.DataFrame({"image": np.fromiter(images, dtype=object), "label": ["0"] * len(images)})
    frame.index = pd.RangeIndex(first_row, first_row + len(images))
    if errors:
        frame["error"] = np.array(errors, dtype=object)

    def chunks(rows: int) -> Iterator[pd.DataFrame]:
        for start in range(0, len(frame), rows):
            yield frame.iloc[start : start + rows]

    return Split(len(frame), chunks, "images.csv")


@pytest.fixture
def rescore(version: Path, sums: dict[str, str]) -> Callable[..., TestScores]:
    return partial(rescored, version, sums)


def test_stored_scores_are_those_of_the_export(version: Path, digits: Any) -> None:
    file = digits.folder / "good/export/scores.safetensors"
    exported = load_file(file)
    stored = stored_scores(version)
    assert np.array_equal(stored.scores, exported["scores"])
    assert stored.fits(read_scores(file, digits.folder / digits.processed / "meta.json"))


def test_scores_made_anew_from_raw_rows_are_the_stored_ones_to_the_bit(
    version: Path, rescore: Callable[..., TestScores], digits: Any
) -> None:
    """No skew: reading, cleaning and encoding in a batch of raw rows gives what preprocessing the data set gave."""
    from flywheel.project.instantiate import build
    from flywheel.project.kind import READER

    like = stored_scores(version)
    splits = build(digits.task.data.reader.read, READER, where="read").read(digits.folder / digits.raw)
    found = rescore(splits, like)
    assert np.array_equal(found.scores, like.scores)
    assert np.array_equal(found.row, like.row)


def test_an_official_test_split_comes_before_train_and_rows_are_put_in_order(
    version: Path, rescore: Callable[..., TestScores]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    splits = {"train": split(images[::-1]), "test": split(images)}
    stored = stored_scores(version)
    like = type(stored)(np.array([4, 0, 2]), stored.scores[:3], stored.meta)
    found = rescore(splits, like).scores
    alone = [rescore(splits, type(stored)(np.array([n]), stored.scores[:1], stored.meta)) for n in (4, 0, 2)]
    assert np.array_equal(found, np.concatenate([one.scores for one in alone]))


def test_classes_in_another_order_and_new_ones_are_aligned_by_name(
    version: Path, rescore: Callable[..., TestScores]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    stored = stored_scores(version)
    same = type(stored)(np.arange(3), stored.scores[:3], stored.meta)
    plain = rescore({"train": split(images)}, same).scores
    classes = ["new", *reversed(stored.meta["classes"])]
    other = type(stored)(np.arange(3), stored.scores[:3], {**stored.meta, "classes": classes})
    found = rescore({"train": split(images)}, other).scores
    assert np.array_equal(found[:, 1:], plain[:, ::-1])
    assert not found[:, 0].any()
    written = [f" {name}.0" for name in stored.meta["classes"]]
    other = type(stored)(np.arange(3), stored.scores[:3], {**stored.meta, "classes": written})
    assert np.array_equal(rescore({"train": split(images)}, other).scores, plain), "a name is one in any form"


def test_rows_that_are_gone_or_do_not_fit_are_named(version: Path, rescore: Callable[..., TestScores]) -> None:
    stored = stored_scores(version)
    like = type(stored)(np.array([1, 99]), stored.scores[:2], stored.meta)
    images = np.zeros((3, 8, 8), np.uint8)
    with pytest.raises(DataError, match=r"images.csv, row 99"):
        rescore({"train": split(images)}, like)
    with pytest.raises(DataError, match="row 1: is 9x9, not 8x8"):
        rescore({"train": split(np.zeros((3, 9, 9), np.uint8))}, like)


def test_damaged_or_missing_scores_are_refused(tmp_path: Path) -> None:
    meta = tmp_path / "meta.json"
    meta.write_text(json.dumps({"sha256": {"test": "t"}}))
    scores = tmp_path / "scores.safetensors"
    with pytest.raises(DataError, match="missing"):
        read_scores(scores, meta)
    scores.write_bytes(b"x" * 50)
    with pytest.raises(DataError, match="damaged"):
        read_scores(scores, meta)
    save_file({"other": np.zeros(3)}, scores)
    with pytest.raises(DataError, match="damaged"):
        read_scores(scores, meta)


def test_the_target_must_be_that_of_the_scored_rows(tmp_path: Path) -> None:
    test = tmp_path / "test.safetensors"
    with pytest.raises(DataError, match="missing"):
        read_target(test, np.arange(3))
    save_file({"target": np.array([5, 6, 7]), "row": np.arange(3)}, test)
    assert read_target(test, np.arange(3)).tolist() == [5, 6, 7]
    with pytest.raises(DataError, match="other rows"):
        read_target(test, np.arange(1, 4))
    test.write_bytes(b"x" * 50)
    with pytest.raises(DataError, match="damaged"):
        read_target(test, np.arange(3))


def test_an_example_is_a_good_raw_row_without_its_label() -> None:
    images = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8)
    inputs = ImagePreprocessor()
    inputs.fit([pd.DataFrame({"image": list(images)})])
    found = raw_example({"train": split(images, errors=["broken", None, None])}, inputs)
    assert list(found.columns) == ["image"]
    assert np.array_equal(found["image"].iloc[0], images[1])
    with pytest.raises(DataError, match="no row that can be used"):
        raw_example({"train": split(images, errors=["broken"] * 3)}, inputs)

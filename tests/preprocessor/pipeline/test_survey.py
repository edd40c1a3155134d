from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.preprocessor.pipeline.engine import LocalEngine
from flywheel.preprocessor.pipeline.survey import DroppedRows, Survey, Vocabulary, check_dropped, survey
from flywheel.preprocessor.target import ClassTarget
from flywheel.project.errors import DataError
from flywheel.project.types import Split


def split_of(rows: int, frames: list[pd.DataFrame]) -> Split:
    return Split(rows, lambda _: iter(frames), "raw.csv")


def frame(first: int, count: int, **columns: object) -> pd.DataFrame:
    images = [np.full((2, 2), first + row, np.uint8) for row in range(count)]
    given = {"image": images, "label": ["a", "b"] * (count // 2), **columns}
    return pd.DataFrame(given, index=range(first, first + count))


def look(split: Split) -> Survey:
    return survey("train", LocalEngine({"train": split}), ImagePreprocessor(), ClassTarget(), Vocabulary(), 10)


def test_keeps_a_digest_and_a_code_of_every_row() -> None:
    found = look(split_of(6, [frame(0, 4), frame(4, 2)]))
    assert found.codes.tolist() == [0, 1, 0, 1, 0, 1]
    assert len(np.unique(found.digests, axis=0)) == 6
    assert found.digests.nbytes / 6 == 16
    assert found.codes.nbytes / 6 == 4
    assert found.usable.all()


@pytest.mark.parametrize(
    ("rows", "frames"), [(6, [(0, 4)]), (4, [(0, 4), (4, 2)]), (6, [(0, 2), (4, 2)]), (4, [(2, 4)])]
)
def test_reader_that_loses_or_repeats_rows_is_caught(rows: int, frames: list[tuple[int, int]]) -> None:
    with pytest.raises(DataError, match=f"are not the {rows} that were announced"):
        look(split_of(rows, [frame(*given) for given in frames]))


def test_split_without_labels_is_refused() -> None:
    with pytest.raises(DataError, match=r"raw\.csv: has no labels"):
        look(split_of(2, [frame(0, 2).drop(columns="label")]))


def test_all_reasons_are_counted_but_only_the_first_are_named() -> None:
    dropped = DroppedRows()
    for row in range(1000):
        dropped.add(row, f"reason {row % 150}", None)
    assert dropped.num_rows == 1000
    assert sum(reason["num_rows"] for reason in dropped.reasons.values()) == 1000
    assert len(dropped.reasons) == 101
    assert len(dropped.reasons["other reasons"]["rows"]) == 100
    assert dropped.most()["why"] == "other reasons"


@pytest.mark.parametrize(
    ("bad", "limit", "fails"), [(0, 0.0, False), (1, 0.0, True), (1, 0.1, False), (2, 0.1, True), (10, 1.0, True)]
)
def test_limit_is_inclusive_and_rows_must_remain(bad: int, limit: float, fails: bool) -> None:
    def chunks(_: int) -> Iterator[pd.DataFrame]:
        yield frame(0, 10, error=["broken"] * bad + [None] * (10 - bad))

    found = look(Split(10, chunks, "raw.csv"))
    check: Callable[[], None] = lambda: check_dropped(found, limit)  # noqa: E731
    if fails:
        with pytest.raises(DataError, match=rf"raw\.csv, row 0: {bad} of 10 train rows .* this one: broken"):
            check()
    else:
        check()

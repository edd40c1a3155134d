from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flywheel.modality.interactions.baseline import Setting, alike, histories, interaction_matrix, item_knn, score
from flywheel.report.baseline import BaselineData
from flywheel.report.examples import Examples

Array = np.ndarray[Any, Any]
NUM_USERS, NUM_ITEMS, LENGTH = 12, 9, 8
MakeSplit = Callable[..., Examples]


@pytest.fixture
def make_split(tmp_path: Path) -> MakeSplit:
    """Rows of (user, history, item code - 1) as a split on the disk."""

    def make(name: str, rows: list[tuple[int, list[int], int]]) -> Examples:
        from safetensors.numpy import save_file

        history = np.zeros((len(rows), LENGTH), np.int16)
        for place, (_, codes, _) in enumerate(rows):
            history[place, : len(codes)] = codes
        arrays = {
            "user": np.array([user for user, _, _ in rows], np.int32), "history": history,
            "target": np.array([item for _, _, item in rows], np.int64), "row": np.arange(len(rows)),
        }  # fmt: skip
        save_file(arrays, tmp_path / f"{name}.safetensors")
        inputs = {"user": {"dtype": "int32", "shape": []}, "history": {"dtype": "int16", "shape": [LENGTH]}}
        return Examples(tmp_path / f"{name}.safetensors", inputs)

    return make


@pytest.fixture
def taken() -> dict[int, list[int]]:
    """What each user took, as columns, in time."""
    random = np.random.default_rng(0)
    return {user: random.permutation(NUM_ITEMS)[: random.integers(4, 8)].tolist() for user in range(1, NUM_USERS + 1)}


@pytest.fixture
def data(make_split: MakeSplit, taken: dict[int, list[int]]) -> BaselineData:
    rows: dict[str, list[tuple[int, list[int], int]]] = {"train": [], "validation": [], "test": []}
    for user, items in taken.items():
        for place, item in enumerate(items):
            part = {1: "validation", 0: "test"}.get(len(items) - 1 - place, "train")
            rows[part].append((user, [code + 1 for code in items[:place]], item))
    meta = {"num_users": NUM_USERS, "num_items": NUM_ITEMS}
    splits = {name: make_split(name, found) for name, found in rows.items()}
    return BaselineData(**splits, meta=meta, preprocessor=None, max_rows=0, seed=0)  # type: ignore[arg-type]


def brute_force(taken: dict[int, list[int]], setting: Setting) -> list[list[float]]:
    """Scores of the test rows by plain loops."""
    train = {user: items[:-2] for user, items in taken.items()}
    had = {item: {user for user, items in train.items() if item in items} for item in range(NUM_ITEMS)}
    near: dict[int, dict[int, float]] = {}
    for one in range(NUM_ITEMS):
        both = {other: len(had[one] & had[other]) for other in range(NUM_ITEMS) if other != one}
        cosine = {
            other: number / (math.sqrt(len(had[one]) * len(had[other])) + setting.shrinkage)
            for other, number in both.items() if number
        }  # fmt: skip
        near[one] = dict(sorted(cosine.items(), key=lambda pair: (-pair[1], pair[0]))[: setting.neighbours])
    found = []
    for items in taken.values():
        history = items[:-1]
        used = history if setting.recent is None else history[-setting.recent :]
        row = [
            sum(near[item].get(column, 0.0) for item in used) + 1e-9 * (1 + len(had[column]))
            for column in range(NUM_ITEMS)
        ]
        found.append([0.0 if column in history else value for column, value in enumerate(row)])
    return found


@pytest.mark.parametrize("setting", [Setting(2, 0.0, None), Setting(4, 3.0, 2), Setting(100, 0.5, 1)])
def test_scores_are_those_of_brute_force(data: BaselineData, taken: dict[int, list[int]], setting: Setting) -> None:
    recent = [setting.recent]
    scores, note = item_knn([setting.neighbours], [setting.shrinkage], recent).predict(data)
    np.testing.assert_allclose(scores, brute_force(taken, setting), rtol=1e-12, atol=1e-15)
    assert f"{data.train.num_rows:,} of the {data.train.num_rows:,} train interactions" in note


def test_validation_chooses_the_setting(data: BaselineData) -> None:
    from flywheel.modality.interactions.metrics import discounted_gain, ranks_of

    matrix = interaction_matrix(data.train, NUM_USERS, NUM_ITEMS, 0)
    assert data.validation is not None
    gains = {}
    for neighbours in (1, 3, 8):
        for recent in (1, None):
            setting = Setting(neighbours, 0.0, recent)
            scores = score(matrix, alike(matrix, setting), histories(data.validation), recent)
            gains[neighbours, recent] = discounted_gain(ranks_of(data.validation.target, scores)).mean()
    best = max(gains, key=lambda key: gains[key])
    _, note = item_knn([1, 3, 8], [0.0], [1, None]).predict(data)
    history = "all items" if best[1] is None else f"the last {best[1]} items"
    assert f"{best[0]} neighbours of {history}" in note
    assert "among 6 settings" in note


def test_a_limit_keeps_the_last_train_rows(data: BaselineData) -> None:
    assert interaction_matrix(data.train, NUM_USERS, NUM_ITEMS, 5).sum() == 5
    whole = interaction_matrix(data.train, NUM_USERS, NUM_ITEMS, 0)
    assert whole.sum() == data.train.num_rows


def test_users_that_are_not_known_are_left_out(make_split: MakeSplit) -> None:
    train = make_split("other", [(0, [1], 1), (2, [1], 1), (2, [], 0)])
    assert interaction_matrix(train, 2, 3, 0).toarray().tolist() == [[0, 0, 0], [1, 1, 0]]


@pytest.mark.parametrize("given", [([], [0.0], [None]), ([0], [0.0], [None]), ([5], [-1.0], [None]), ([5], [0.0], [0])])
def test_settings_that_cannot_be_are_refused(given: tuple[Any, Any, Any]) -> None:
    with pytest.raises(ValueError, match="must hold"):
        item_knn(*given)

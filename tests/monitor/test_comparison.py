"""Is the new version worse? On the same rows where inputs were kept, else on each version's own."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from tests.monitor.conftest import Memory

from flywheel.monitor.comparison import compare_versions
from flywheel.monitor.window import read_window
from flywheel.preprocessor.target import ClassTarget


class Old:
    """The version before: it calls everything `cat`."""

    def __init__(self, inputs: Any) -> None:
        self.preprocessor = self
        self.inputs, self.target = inputs, ClassTarget(["cat", "dog"])

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"label": ["cat"] * len(frame)})


@pytest.fixture
def old(kinds: dict[str, Any]) -> Any:
    return Old(kinds["text"].inputs)


def compared(traffic: Memory, old: Any, least: int = 50) -> Any:
    return compare_versions(read_window(traffic, "digits", None, 1).known, 2, 1, old, least, 0.99)


def test_both_answer_the_same_rows_where_inputs_were_kept(traffic: Memory, old: Any) -> None:
    for place in range(60):  # everything is a cat, and the new version sees dogs in a third of them
        traffic.add({"label": "dog" if place % 3 == 0 else "cat"}, row={"text": "me on"}, label="cat", version=2)
    found = compared(traffic, old)
    assert (found.paired, found.worse) == (True, True)
    assert found.difference.value == pytest.approx(-1 / 3)


def test_a_better_one_and_one_that_is_as_good_are_not_worse(traffic: Memory, old: Any) -> None:
    for _ in range(60):
        traffic.add({"label": "dog"}, row={"text": "me on"}, label="dog", version=2)
    assert compared(traffic, old).difference.value == 1
    same = Memory()
    for _ in range(60):
        same.add({"label": "cat"}, row={"text": "me on"}, label="cat", version=2)
    assert not compared(same, old).worse


def test_a_confirmed_answer_is_the_right_one_and_a_plain_no_tells_nothing_of_the_other(
    traffic: Memory, old: Any
) -> None:
    for place in range(120):
        traffic.add({"label": "dog"}, row={"text": "me on"}, correct=place < 60, version=2)
    found = compared(traffic, old)
    assert found.difference.num_rows == 60
    assert found.difference.value == 1


def test_without_inputs_each_version_has_its_own_rows(traffic: Memory, old: Any) -> None:
    for place in range(100):
        traffic.add({"label": "cat"}, label="cat" if place < 95 else "dog", version=1)
        traffic.add({"label": "cat"}, label="cat" if place < 60 else "dog", version=2)
    found = compared(traffic, old)
    assert (found.paired, found.worse) == (False, True)
    assert found.difference.value == pytest.approx(-0.35)
    assert "on rows of its own each" in found.words


def test_too_few_rows_are_not_compared(traffic: Memory, old: Any) -> None:
    for _ in range(49):
        traffic.add({"label": "cat"}, row={"text": "me on"}, label="cat", version=2)
    assert compared(traffic, old) is None

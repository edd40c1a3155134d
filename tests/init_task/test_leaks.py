"""What the target follows from by a function is left out, judged on rows held out; honest columns are kept."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.init_task.functions import Halves, decides_class, ranges_decide
from flywheel.init_task.guess import Guess

Guessed = Callable[..., Guess]
ROWS = 600


def left_out(guess: Guess) -> dict[str, str]:
    return {note.guess: note.why for note in guess.notes if note.what == "ignored"}


def shop(seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.DataFrame({
        "price": generator.lognormal(3, 1, ROWS).round(2),
        "quantity": generator.integers(1, 20, ROWS),
        "weight": generator.normal(size=ROWS).round(3),
        "town": generator.choice(list("abcdefgh"), ROWS),
        "shop": generator.choice(list("uvwxyz"), ROWS),
        "ordered": pd.Timestamp("2020-01-01") + pd.to_timedelta(generator.integers(0, 999, ROWS), unit="D"),
        "home": generator.integers(0, 6, ROWS),
        "away": generator.integers(0, 6, ROWS),
        "code": generator.choice([11, 12, 13, 21, 22, 23], ROWS),
    })  # fmt: skip


LEAKS: dict[str, tuple[Callable[[pd.DataFrame], Any], list[str], str]] = {
    "many values to one class": (lambda f: f.town.map(lambda t: "xyz"[ord(t) % 3]), ["town"], "each of its 8 values"),
    "codes": (lambda f: f.code.floordiv(10).map({1: "red", 2: "blue"}), ["code"], "each of its 6 values means one"),
    "a range": (lambda f: np.where(f.price > 40, "dear", "cheap"), ["price"], "each class is a range of its values"),
    "ranges": (lambda f: pd.cut(f.weight, [-9, -1, 0.5, 9], labels=["s", "m", "l"]), ["weight"], "is a range"),
    "who won": (
        lambda f: np.select([f.home > f.away, f.home < f.away], ["home", "away"], "nobody"),
        ["home", "away"], "decide 'target' by their difference",
    ),
    "a pair": (
        lambda f: [f"zone {zlib.crc32((a + b).encode()) % 3}" for a, b in zip(f.town, f["shop"], strict=True)],
        ["town", "shop"], "together decide 'target', value by value",
    ),
    "a product": (lambda f: (f.price * f.quantity).round(2), ["price", "quantity"], "by their product"),
    "a quotient": (lambda f: f.price / f.quantity, ["price", "quantity"], "by their quotient"),
    "a tariff": (lambda f: f.town.map(lambda t: 3.5 * (ord(t) % 5) ** 2 + 0.25), ["town"], "value by value"),
}  # fmt: skip


@pytest.mark.parametrize("name", LEAKS)
def test_what_decides_the_target_is_named_and_left_out(guessed: Guessed, name: str) -> None:
    make, columns, how = LEAKS[name]
    guess = guessed(shop().assign(target=make), "target")
    assert list(left_out(guess)) == columns
    assert how in left_out(guess)[columns[0]]
    assert any(line.startswith(f"'{columns[0]}' gives the target away") for line in guess.warnings)


def test_a_duration_follows_from_its_two_ends(guessed: Guessed) -> None:
    days = np.random.default_rng(1).integers(1, 60, ROWS)
    frame = shop().assign(ended=lambda f: f.ordered + pd.to_timedelta(days, unit="D"), target=days)
    assert list(left_out(guessed(frame, "target", kind="number"))) == ["ordered", "ended"]


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_well_known_tables_have_no_leak(guessed: Guessed, name: str) -> None:
    import sklearn.datasets

    frame = getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame
    assert left_out(guessed(frame, "target")) == {}
    if name != "diabetes":  # one class lies apart from the others in several columns
        assert left_out(guessed(frame.assign(target=frame.target == 0), "target")) == {}


def test_noise_that_a_function_does_not_explain_is_honest(guessed: Guessed) -> None:
    generator = np.random.default_rng(2)
    frame = shop().assign(target=lambda f: f.town.map(lambda t: "xyz"[ord(t) % 3]))
    frame.loc[generator.choice(ROWS, 12, replace=False), "target"] = "x"
    assert left_out(guessed(frame, "target")) == {}


def test_classes_that_lie_apart_are_no_ranges_that_somebody_set() -> None:
    for seed in range(60):
        generator = np.random.default_rng(seed)
        classes = generator.integers(0, 2, int(generator.integers(60, 1000)))
        values = generator.normal(classes * generator.uniform(3, 10), 1)
        assert not ranges_decide([values, np.exp(values / 3), np.round(values * 10)][seed % 3], classes), seed


def test_few_rows_of_another_class_prove_nothing() -> None:
    values, target = np.arange(400) % 2, np.zeros(400, int)
    target[[1, 3]] = 1
    assert not decides_class(values, target, Halves.draw(400))
    assert decides_class(values, values.copy(), Halves.draw(400))


def test_rows_of_a_group_are_held_out_together() -> None:
    """A patient's age says the diagnosis as long as the patient is known: that is what the group is for."""
    patients = np.repeat(np.arange(100), 5)
    ages, diagnosis = patients, np.random.default_rng(0).integers(0, 2, 100)[patients]
    assert decides_class(ages, diagnosis, Halves.draw(500))
    assert not decides_class(ages, diagnosis, Halves.draw(500, patients))

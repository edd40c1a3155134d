from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.init_task.guess import CLASS, ITEM, NUMBER, Guess
from flywheel.init_task.recipe import check, groups, recipes, settings, undecided
from flywheel.project.errors import DataError


def test_every_recipe_has_its_parts(root: Path) -> None:
    assert {target for _, target in recipes()} == {CLASS, NUMBER, ITEM}
    for modality, target in recipes():
        for group, option in groups(Guess(modality, target, {})).items():
            assert (root / "conf" / group / f"{option}.yaml").is_file(), (group, option)


def test_training_fits_the_number_of_rows() -> None:
    trainers = [settings(Guess("tabular", CLASS, {}, num_rows=number))["trainer"] for number in (100, 3000, 10**6)]
    assert [trainer["early_stopping"]["patience"] for trainer in trainers] == [30, 20, 10]
    assert [trainer["max_epochs"] for trainer in trainers] == [600, 400, 200], "bounds, not lengths"
    assert [trainer["batch_size"] for trainer in trainers] == [32, 128, 512]


def test_the_margin_is_what_chance_makes_of_so_few_test_rows() -> None:
    assert settings(Guess("tabular", CLASS, {}, num_rows=5000))["register"] == {"margin": 0.02}
    assert "register" not in settings(Guess("tabular", CLASS, {}, num_rows=10**6))
    assert settings(Guess("tabular", NUMBER, {}, num_rows=500, spread=77.0))["register"] == {"margin": 3.1}
    assert undecided(Guess("tabular", CLASS, {}, num_rows=5000)) == ""
    assert settings(Guess("interactions", ITEM, {}, num_rows=10**5, num_test=943))["register"] == {"margin": 0.03}


def test_few_test_rows_get_no_margin_that_lets_worse_models_pass() -> None:
    """36 rows are told apart by 11 points; that much was allowed, and a model 5 points worse passed in a fifth."""
    few = Guess("tabular", CLASS, {}, num_rows=180)
    assert settings(few)["register"] == {"margin": 0.03}
    assert undecided(few).startswith(
        "36 test rows are too few for the gate: until there are about 441, it promotes only"
    )
    assert "fold=range(0,5)" in undecided(few)
    number = Guess("tabular", NUMBER, {}, num_rows=100, spread=10.0)
    assert settings(number)["register"] == {"margin": 0.5}
    assert "until there are about 64" in undecided(number)


def test_a_quantity_cannot_be_told_from_text() -> None:
    with pytest.raises(DataError, match="text is learnt with classes, and the target is a number; use --kind class"):
        check(Guess("text", NUMBER, {}), Path("a.csv"))

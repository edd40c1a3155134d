import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from flywheel.project.errors import ConfigError
from flywheel.sweep.search.settings import SweepConfig, sweep_from
from flywheel.sweep.search.space import Dimension, dimensions, parse
from flywheel.sweep.search.storage import open_storage
from flywheel.sweep.search.study import Study, params_of
from flywheel.sweep.search.trial import Objective

pytestmark = pytest.mark.usefixtures("project")
SCORE = [Objective("accuracy", "max")]


def study(name: str, *words: str, objectives: list[Objective] = SCORE, on_disk: bool = False, **settings: Any) -> Study:
    config = sweep_from(settings)
    storage = None if on_disk else optuna.storages.InMemoryStorage()
    return Study(name, config, space(config, *words), objectives, 1, max_epochs=9, storage=storage)


def space(config: SweepConfig, *words: str) -> list[Dimension]:
    return dimensions(config.params, parse(words), config.method)


def test_a_grid_gives_each_combination_once_also_after_a_restart() -> None:
    words = ("a=1,2", "b=x,y")
    one = study("grid", *words, on_disk=True)
    first, second = one.ask(), one.ask()
    assert first is not None
    assert second is not None
    one.tell(first[0], [0.5])
    again = study("grid", *words, on_disk=True)
    assert [params_of(trial) for trial in again.unfinished()] == [second[1]]
    rest = [again.ask(), again.ask(), again.ask()]
    assert rest[2] is None
    everything = [first, second, *rest[:2]]
    assert {(drawn[1]["a"], drawn[1]["b"]) for drawn in everything if drawn} == {(a, b) for a in "12" for b in "xy"}


@pytest.mark.parametrize("method", ["random", "tpe", "nsga2"])
def test_no_params_are_given_twice_and_a_finite_space_comes_to_its_end(method: str) -> None:
    one = study(method, "a=1,2,3", "b=x,y", method=method)
    drawn = []
    while (got := one.ask()) is not None:
        drawn.append(tuple(got[1].values()))
        one.tell(got[0], [float(len(drawn))])
    assert sorted(drawn) == sorted(set(drawn))
    assert len(drawn) == 6
    assert len(one.trials()) == 6


def test_a_resumed_sampler_does_not_draw_its_first_params_again() -> None:
    drawn = []
    for _ in range(3):
        one = study("again", "lr=interval(0,1)", method="random", on_disk=True)
        got = one.ask()
        assert got is not None
        one.tell(got[0], [0.5])
        drawn.append(got[1]["lr"])
    assert len(set(drawn)) == 3


def test_tpe_finds_the_better_end() -> None:
    one = study("tpe", "x=interval(0,1)", method="tpe")
    values = []
    for _ in range(30):
        got = one.ask()
        assert got is not None
        values.append(float(got[1]["x"]))
        one.tell(got[0], [values[-1]])
    assert sum(values[20:]) / 10 > 0.75


def test_what_failed_or_was_stopped_early_is_remembered_as_such() -> None:
    one = study("states", "x=interval(0,1)", method="random")
    for values, pruned in (([math.nan], False), (None, False), ([0.2], True), ([0.7], False)):
        got = one.ask()
        assert got is not None
        one.tell(got[0], values, pruned=pruned)
    assert [trial.state.name for trial in one.trials()] == ["FAIL", "FAIL", "PRUNED", "COMPLETE"]


def test_the_front_holds_what_nothing_else_beats_in_everything() -> None:
    both = [Objective("accuracy", "max"), Objective("num_bytes", "min")]
    one = study("front", "x=1,2,3,4", objectives=both, method="random")
    numbers = {}
    for values in ((0.9, 100.0), (0.8, 10.0), (0.7, 50.0)):
        got = one.ask()
        assert got is not None
        one.tell(got[0], values)
        numbers[values] = got[0]
    assert one.front() == {numbers[0.9, 100.0], numbers[0.8, 10.0]}


def test_a_storage_that_cannot_be_opened_is_one_clear_line(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/no/such/folder/x.db", "postgres://x", "no url"):
        with pytest.raises(ConfigError, match=r"sweep\.storage"):
            open_storage(url)

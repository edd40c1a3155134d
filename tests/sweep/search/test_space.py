from typing import Any

import optuna
import pytest

from flywheel.project.errors import ConfigError
from flywheel.sweep.search.space import Dimension, combinations, dimensions, num_combinations, parse


def space(*words: str, method: str = "tpe", **params: Any) -> list[Dimension]:
    return dimensions(params, parse(words), method)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("a=1,2", Dimension("a", "choice", ("1", "2"))),
        ("a=choice([16],[32])", Dimension("a", "choice", ("[16]", "[32]"))),
        ("+a=x,y", Dimension("+a", "choice", ("x", "y"))),
        ("a=interval(0,0.5)", Dimension("a", "float", low=0.0, high=0.5)),
        ("a=int(interval(1,8))", Dimension("a", "int", low=1, high=8)),
        ("a=tag(log,interval(1e-4,1e-1))", Dimension("a", "float", low=1e-4, high=1e-1, log=True)),
        ("a=range(0,5)", Dimension("a", "int", low=0, high=4, step=1)),
        ("a=range(0,1,0.25)", Dimension("a", "float", low=0.0, high=0.75, step=0.25)),
    ],
)
def test_override_syntax_is_the_space(word: str, expected: Dimension) -> None:
    (found,) = space(word)
    assert repr(found) == repr(expected)  # NaN is not equal to itself


def test_a_grid_takes_ranges_as_values_and_the_last_key_changes_first() -> None:
    found = space("b=range(0,2)", "a=x,y", method="grid")
    assert [one.choices for one in found] == [("0", "1"), ("x", "y")]
    assert list(combinations(found)) == [{"b": b, "a": a} for b in "01" for a in "xy"]
    assert num_combinations(found) == 4
    assert num_combinations(space("a=interval(0,1)")) is None


def test_a_conditional_key_is_only_there_when_its_condition_holds() -> None:
    found = space(model="choice(mlp,cnn)", kernel={"when": "model=cnn", "values": "choice(3,5)"}, method="grid")
    assert list(combinations(found)) == [
        {"model": "mlp"}, {"model": "cnn", "kernel": "3"}, {"model": "cnn", "kernel": "5"}
    ]  # fmt: skip


def test_the_command_line_replaces_what_the_configuration_sweeps() -> None:
    (lr, width) = space("lr=interval(0,1)", width="choice(1,2)", lr="choice(5,6)")
    assert (width.kind, lr.key, lr.kind) == ("float", "width", "choice")


@pytest.mark.parametrize(
    ("words", "params", "method", "said"),
    [
        (["a=interval(0,1)"], {}, "grid", "a grid needs some"),
        (["a=interval(2,1)"], {}, "tpe", "not below"),
        (["a=tag(log,interval(0,1))"], {}, "tpe", "no logarithm"),
        (["a=[1,2"], {}, "tpe", "quote it"),
        ([], {"a": "3"}, "tpe", "single value"),
        ([], {"a": {"vals": "choice(1,2)"}}, "tpe", "neither values"),
        ([], {"a": {"when": "b=1", "values": "choice(1,2)"}, "b": "choice(1,2)"}, "tpe", "names no key before it"),
        ([], {"b": "choice(1,2)", "a": {"when": "b=3", "values": "choice(1,2)"}}, "tpe", "not one of 1, 2"),
    ],
)
def test_what_is_no_space_is_one_clear_line(words: list[str], params: Any, method: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        dimensions(params, parse(words), method)


def test_drawn_values_are_what_a_command_line_says() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = space("lr=tag(log,interval(1e-5,1e-1))", "n=int(interval(1,9))", "c=x,y", "s=range(0,1,0.25)")
    for _ in range(20):
        trial = study.ask()
        lr, number, choice, step = (one.suggest(trial) for one in found)
        assert len(lr.lstrip("0.").split("e")[0].replace(".", "")) <= 6
        assert 1e-5 <= float(lr) <= 1e-1
        assert int(number) in range(1, 10)
        assert choice in "xy"
        assert step in ("0", "0.25", "0.5", "0.75")

import math

import pytest

from flywheel.sweep.search.space import Dimension
from flywheel.sweep.search.trial import COMPLETE, Objective, Trial
from flywheel.sweep.show.scale import log_ticks, number_of, reach, scale_of, short_key, short_texts, tick_text

ACCURACY, LOSS = Objective("accuracy", "max"), Objective("loss", "min")
LR = Dimension("optimizer.lr", "float", low=1e-4, high=1e-1, log=True)
LAYERS = Dimension("model.net.num_layers", "int", low=1, high=6)
PATHS = tuple(f"/a/long/path/to/some/weights/of/number/{n}/model.safetensors" for n in range(3))
MODEL = Dimension("model", "choice", choices=("mlp", "cnn"))


def test_a_scale_places_numbers_by_size_or_by_magnitude() -> None:
    def place(dimension: Dimension, value: str) -> float | None:
        there = Trial(0, {dimension.key: value}, COMPLETE, 0.5)
        return scale_of(dimension, [there]).at(there)

    assert place(LR, "1e-4") == 0
    assert place(LR, "0.001") == pytest.approx(1 / 3)
    assert place(LAYERS, "2") == pytest.approx(0.2)
    assert place(LAYERS, "11") == 1  # outside its range: the range gives way
    assert place(LR, "-1") is None
    assert place(MODEL, "cnn") == 0.75
    assert place(MODEL, "lstm") == pytest.approx(5 / 6)  # a choice that was not foreseen
    assert scale_of(MODEL, []).at(Trial(0, {})) is None
    same = Dimension("x", "float", low=2, high=2)
    assert place(same, "2") == 0.5
    assert math.isnan(number_of(Trial(0, {LR.key: "0"}), LR))


def test_ticks_are_round() -> None:
    assert scale_of(LR, []).labels == ["0.0001", "0.001", "0.01", "0.1"]
    assert scale_of(LAYERS, []).labels == ["1", "2", "3", "4", "5", "6"]
    assert log_ticks(16, 256) == [20, 50, 100, 200]
    assert log_ticks(0.0012, 0.0014) == [0.0012, 0.0014]
    assert [tick_text(x) for x in (0.003, 1e-5, 20_000, 1.5e6, 0.1 + 0.2)] == ["0.003", "1e-05", "20k", "1.5M", "0.3"]
    crowded = Dimension("fold", "choice", choices=tuple(map(str, range(100))))
    assert 5 < len(scale_of(crowded, []).labels) <= 12


def test_short_texts_stay_apart() -> None:
    short = short_texts([*PATHS, "mlp"], 16)
    assert len(set(short)) == 4
    assert max(map(len, short)) <= 20
    assert short[-1] == "mlp"
    assert short_key("a.long.section.with.a.name", 12) == "…with.a.name"
    assert len(short_key("x" * 50, 12)) == 12


def test_an_axis_of_scores_holds_all_unless_some_are_far_off() -> None:
    assert reach([0.1, 0.5, 0.9], ACCURACY) == pytest.approx((0.1 - 0.064, 0.9 + 0.064))
    low, high = reach([*(0.9 + n / 100 for n in range(9)), 0.0], ACCURACY)
    assert 0.5 < low < 0.9
    assert high > 0.98
    low, high = reach([*(0.2 + n / 100 for n in range(9)), 1e9], LOSS)
    assert low < 0.2
    assert 0.28 < high < 1

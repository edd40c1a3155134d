import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from PIL import Image

from flywheel.sweep.search.space import Dimension
from flywheel.sweep.search.trial import COMPLETE, FAILED, PRUNED, RUNNING, WAITING, Objective, Trial
from flywheel.sweep.show.importance import draw_importance, draw_parallel, draw_slices, importances
from flywheel.sweep.show.pictures import best_first, draw_curves, draw_history, draw_pareto, draw_trials

ACCURACY, LOSS = Objective("accuracy", "max"), Objective("loss", "min")
LATENCY, BYTES = Objective("latency_ms", "min"), Objective("num_bytes", "min")
LR = Dimension("optimizer.lr", "float", low=1e-4, high=1e-1, log=True)
LAYERS = Dimension("model.net.num_layers", "int", low=1, high=6)
PATHS = tuple(f"/a/long/path/to/some/weights/of/number/{n}/model.safetensors" for n in range(3))
MODEL = Dimension("model", "choice", choices=("mlp", "cnn"))
WEIGHTS = Dimension("model.net.weights", "choice", choices=PATHS, when="model=cnn")
DIMENSIONS = [LR, LAYERS, MODEL, WEIGHTS]

Draw = Callable[[list[Trial], Objective, Path], bool]


def slices(trials: list[Trial], objective: Objective, file: Path) -> bool:
    return draw_slices(trials, DIMENSIONS, objective, file)


def parallel(trials: list[Trial], objective: Objective, file: Path) -> bool:
    return draw_parallel(trials, DIMENSIONS, objective, file)


def pareto(trials: list[Trial], objective: Objective, file: Path) -> bool:
    two = [Trial(t.number, t.params, t.state, t.score, (t.score, t.number / 7)) for t in trials]
    return draw_pareto(two, [objective, LATENCY], {trial.number for trial in two[::3]}, file)


DRAWS: list[Draw] = [draw_history, draw_curves, slices, parallel, pareto]
each_picture = pytest.mark.parametrize("draw", DRAWS, ids=lambda draw: draw.__name__)


def trial(number: int, score: float = math.nan, state: str = COMPLETE, **more: Any) -> Trial:
    params = {LR.key: f"{10 ** -(1 + number % 30 / 10):.3g}", LAYERS.key: str(1 + number % 6)}
    params |= {MODEL.key: "cnn", WEIGHTS.key: PATHS[number % 3]} if number % 2 else {MODEL.key: "mlp"}
    curve = tuple(score - 0.5 / epoch for epoch in range(1, 4))
    fields: dict[str, Any] = {"params": params, "state": state, "score": score, "curve": curve, "epoch": 2}
    return Trial(number, **(fields | more))


def several(num: int) -> list[Trial]:
    return [trial(n, 0.9 + math.sin(n) / 20) for n in range(num)]


AWKWARD = {
    "one": several(1),
    "equal": [trial(n, 0.5) for n in range(9)],
    "zero": [trial(n, 0.0) for n in range(3)],
    "many": several(200),
    "far": [*several(20), trial(20, -1e9)],
    "odd": [
        *several(4),
        trial(4, math.nan),
        trial(5, math.inf),
        trial(6, state=FAILED, curve=(math.nan,), error="$x$ went wrong"),
        trial(7, 0.3, PRUNED, curve=(0.3,)),
        trial(8, state=PRUNED, curve=()),
        trial(9, 0.99, PRUNED),
        trial(10, state=RUNNING, curve=(0.1, math.nan, 0.2)),
        trial(11, state=WAITING, curve=()),
        trial(12, 0.7, params={}, epoch=None),
        trial(13, 0.8, params={LR.key: "null", LAYERS.key: "1e9", MODEL.key: "$\\frac{a", WEIGHTS.key: "ελ" * 90}),
        trial(14, 0.6, params={LR.key: "-1", "not.swept": "x"}, epoch=99),
    ],
}


def size_of(file: Path) -> tuple[int, int]:
    with Image.open(file) as picture:
        picture.load()
        assert picture.format == "PNG"
        return picture.size


def colours_of(file: Path) -> set[Any]:
    with Image.open(file) as picture:
        return {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}


@each_picture
@pytest.mark.parametrize("trials", AWKWARD.values(), ids=AWKWARD)
def test_awkward_trials_make_a_picture(draw: Draw, trials: list[Trial], tmp_path: Path) -> None:
    objective = LOSS if len(trials) % 2 else ACCURACY
    assert draw(trials, objective, tmp_path / "picture.png")
    assert min(size_of(tmp_path / "picture.png")) > 400


@each_picture
def test_without_a_complete_trial_there_is_no_picture(draw: Draw, tmp_path: Path) -> None:
    trials = [trial(0, 0.9, PRUNED), trial(1, state=FAILED), trial(2, state=RUNNING), trial(3, math.nan)]
    for some in ([], trials):
        assert not draw(some, ACCURACY, tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())


@each_picture
def test_equal_trials_give_equal_bytes(draw: Draw, tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw(several(12), ACCURACY, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    draw([*several(12), trial(12, 0.99)], ACCURACY, tmp_path / "c")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_there_is_no_picture_of_nothing(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    assert not draw_slices(several(3), [], ACCURACY, file)
    assert not draw_parallel(several(3), [], ACCURACY, file)
    assert not draw_curves([trial(0, 0.5, curve=())], ACCURACY, file)
    assert not draw_pareto(several(3), [ACCURACY], {0}, file)
    assert not draw_pareto(several(3), [ACCURACY, LATENCY], {0}, file)  # they have no second value
    assert not draw_importance({}, file)
    assert not draw_importance({"x": math.nan}, file)
    assert not file.exists()


WRONG, ACCENT, SECOND = (0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2), (0x9A, 0x7F, 0xB8)


def test_failed_and_far_trials_are_marked_in_the_history(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    draw_history(several(20), ACCURACY, file)
    assert ACCENT in colours_of(file)
    assert not {WRONG, SECOND} & colours_of(file)
    draw_history([*several(20), trial(20, state=FAILED)], ACCURACY, file)
    assert WRONG in colours_of(file)
    draw_history([*several(20), trial(20, 0.1)], ACCURACY, file)
    assert SECOND in colours_of(file)
    draw_history([*several(20), trial(20, 3.0, PRUNED)], ACCURACY, file)
    assert SECOND not in colours_of(file)  # pruned, but better than all: not far worse


def test_pictures_hold_nine_panels_and_eleven_axes(tmp_path: Path) -> None:
    many = [Dimension(f"section.number_{n}", "float", low=0, high=1) for n in range(14)]
    trials = [Trial(n, {one.key: str(n / 9) for one in many}, COMPLETE, n / 9) for n in range(9)]
    for draw, most in ((draw_slices, 9), (draw_parallel, 11)):
        for num in (most - 1, most, 14):
            assert draw(trials, many[:num], ACCURACY, tmp_path / str(num))
        assert (tmp_path / str(most)).read_bytes() == (tmp_path / "14").read_bytes()
        assert (tmp_path / str(most)).read_bytes() != (tmp_path / str(most - 1)).read_bytes()


def test_three_objectives_are_shown_in_pairs(tmp_path: Path) -> None:
    values = [(0.5 + n / 40, 1.0 + n, 1e4 * 3.0**n) for n in range(12)]
    three = [Trial(n, {}, COMPLETE, each[0], each) for n, each in enumerate(values)]
    three += [Trial(12, {}, COMPLETE, 0.5, (0.5, math.nan, 1.0)), Trial(13, {}, FAILED)]
    two = [Trial(t.number, {}, t.state, t.score, t.values[:2]) for t in three[:12]]
    assert draw_pareto(three, [ACCURACY, LATENCY, BYTES], set(range(12)), tmp_path / "three.png")
    assert draw_pareto(two, [ACCURACY, LATENCY], set(), tmp_path / "two.png")
    assert size_of(tmp_path / "three.png")[0] > 1.8 * size_of(tmp_path / "two.png")[0]


def test_draw_trials_keeps_every_good_score_in_sight() -> None:
    from flywheel.report import style

    _, (axes,) = style.new_figure(4, 3)
    draw_trials(axes, {n: n for n in range(9)}, [*several(8), trial(8, 0.97, PRUNED)], ACCURACY)
    low, high = axes.get_ylim()
    assert low < min(t.score for t in several(8))
    assert high > 0.97


def test_importance_bars(tmp_path: Path) -> None:
    shares = {"optimizer.lr": 0.7, "a.very.long.key.in.some.section.of.the.configuration": 0.3, "seed": 0.0}
    assert draw_importance(shares, tmp_path / "a.png")
    assert draw_importance(dict(reversed(shares.items())), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert draw_importance({f"key_{n}": 1 / 300 for n in range(300)}, tmp_path / "c.png")
    assert size_of(tmp_path / "c.png")[1] < 1200


def test_the_best_comes_first_and_equals_by_age() -> None:
    trials = [trial(2, 0.5), trial(0, 0.7), trial(1, 0.5), trial(3, 0.9, PRUNED), trial(4, math.nan)]
    assert [one.number for one in best_first(trials, ACCURACY)] == [0, 1, 2]
    assert [one.number for one in best_first(trials, LOSS)] == [1, 2, 0]


Direction = Literal["maximize", "minimize"]


def study_of(num: int, direction: Direction = "maximize", num_values: int = 1) -> optuna.Study:
    """The first setting decides, the second one does not; the third exists for half of the trials."""
    study = optuna.create_study(directions=[direction] * num_values)
    for n in range(num):
        params: dict[str, Any] = {"lr": n / num, "model": "ab"[n * 7 // 3 % 2]}
        spaces: dict[str, Any] = {"lr": FloatDistribution(0, 1), "model": CategoricalDistribution(["a", "b"])}
        if params["model"] == "a":
            params["width"], spaces["width"] = n * 5 % 7 / 7, FloatDistribution(0, 1)
        score = (1 if direction == "maximize" else -1) * (1 - (params["lr"] - 0.3) ** 2)
        values = [score, *[float(n % 5)] * (num_values - 1)]
        study.add_trial(optuna.trial.create_trial(params=params, distributions=spaces, values=values))
    return study


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("num_values", [1, 2])
def test_importances_find_what_decides(direction: Direction, num_values: int) -> None:
    study = study_of(30, direction, num_values)
    found = importances(study)
    assert next(iter(found)) == "lr"
    assert found["lr"] > 0.5
    assert {*found} == {"lr", "model", "width"}
    assert sum(found.values()) == pytest.approx(1)
    assert list(found.items()) == list(importances(study).items())


def test_importances_need_four_trials_two_settings_and_a_difference() -> None:
    assert importances(study_of(3)) == {}
    assert {*importances(study_of(4))} <= {"lr", "model", "width"}
    assert importances(optuna.create_study()) == {}
    one = optuna.create_study()
    same = optuna.create_study()
    infinite = optuna.create_study()
    for n in range(12):
        space = {"lr": FloatDistribution(0, 1), "model": CategoricalDistribution(["a", "b"])}
        create = optuna.trial.create_trial
        one.add_trial(create(params={"lr": n / 12, "model": "a"}, distributions=space, value=n))
        same.add_trial(create(params={"lr": n / 12, "model": "ab"[n % 2]}, distributions=space, value=1.0))
        infinite.add_trial(create(params={"lr": n / 12, "model": "ab"[n % 2]}, distributions=space, value=math.inf))
    assert importances(one) == importances(same) == importances(infinite) == {}

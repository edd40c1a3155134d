import itertools
import math
from collections.abc import Callable, Sequence

import pytest

from flywheel.sweep.search.space import Dimension
from flywheel.sweep.search.trial import COMPLETE, FAILED, PRUNED, Objective, Trial
from flywheel.sweep.show.advice import advice, flat_dimensions
from flywheel.sweep.show.pictures import best_first

ACCURACY, LOSS = Objective("accuracy", "max"), Objective("loss", "min")
LR = Dimension("optimizer.lr", "float", low=1e-4, high=1e-1, log=True)
DROPOUT = Dimension("model.net.dropout", "float", low=0.0, high=0.5)
LAYERS = Dimension("model.net.num_layers", "int", low=1, high=8)
MODEL = Dimension("model", "choice", choices=("mlp", "cnn"))


def sweep(key: str, pairs: Sequence[tuple[float | str, float]]) -> list[Trial]:
    """One complete trial for each value and score."""
    return [Trial(number, {key: str(value)}, COMPLETE, score) for number, (value, score) in enumerate(pairs)]


UPWARDS = [(1e-4, 0.5), (1e-3, 0.6), (3e-3, 0.7), (0.02, 0.8), (0.08, 0.9), (0.09, 0.92), (0.1, 0.91)]


def test_best_values_at_the_upper_end_of_a_log_range() -> None:
    assert advice(sweep(LR.key, UPWARDS), [LR], ACCURACY) == [
        "optimizer.lr: the best trials lie at the upper end (0.1); try a wider range, up to 1"
    ]


def test_five_percent_is_meant_on_the_log_scale() -> None:
    # From 0.0001 to 0.1, the lowest 5% end at 0.000141; of the plain range they would end at 0.0051.
    low = [(1e-4, 0.1), (1.1e-4, 0.12), (1.4e-4, 0.11), (4e-3, 0.5), (0.01, 0.6), (0.1, 0.9)]
    expected = "optimizer.lr: the best trials lie at the lower end (0.0001); try a wider range, down to 1e-05"
    assert advice(sweep(LR.key, low), [LR], LOSS) == [expected]
    inside = [(1.5e-4, 0.1), (2e-4, 0.12), (1.6e-4, 0.11), (4e-3, 0.5), (0.01, 0.6), (0.1, 0.9)]
    assert advice(sweep(LR.key, inside), [LR], LOSS) == []


@pytest.mark.parametrize(
    ("dimension", "best", "others", "expected"),
    [
        (LAYERS, 8, 2, "up to 12"),
        (LAYERS, 1, 5, None),  # there are no fewer layers than one
        (Dimension("batch", "int", low=16, high=256, log=True), 256, 40, "up to 1024"),
        (Dimension("padding", "int", low=0, high=32, step=4), 32, 8, "up to 48"),
        (DROPOUT, 0.5, 0.2, "up to 0.75"),
        (DROPOUT, 0.0, 0.2, None),  # nor less than no dropout
        (Dimension("share", "float", low=0.2, high=1.0), 1.0, 0.5, None),  # nor more than all
        (Dimension("share", "float", low=0.2, high=0.9), 0.9, 0.5, "up to 1"),
        (Dimension("bias", "float", low=-1.0, high=3.0), -1.0, 0.5, "down to -3"),
        (Dimension("few", "int", low=1, high=2), 2, 1, None),  # three of three at one of two values: chance
    ],
)
def test_a_wider_range_stays_within_reason(dimension: Dimension, best: float, others: float, expected: str) -> None:
    said = advice(sweep(dimension.key, [(best, 0.9)] * 3 + [(others, 0.5)] * 4), [dimension], ACCURACY)
    assert [one.rpartition(", ")[2] for one in said] == ([expected] if expected else [])


def test_where_all_trials_lie_at_the_edge_it_says_nothing() -> None:
    assert advice(sweep(LR.key, [(0.1, 0.5 + n / 100) for n in range(7)]), [LR], ACCURACY) == []


def test_four_complete_trials_are_no_evidence() -> None:
    pruned = [Trial(n, {LR.key: "0.1"}, PRUNED, 0.1) for n in range(10, 20)]
    assert advice([*sweep(LR.key, UPWARDS[-4:]), *pruned], [LR], ACCURACY) == []


def test_values_without_a_number_and_missing_keys_are_passed_over() -> None:
    odd = [Trial(20, {}, COMPLETE, 0.99), Trial(21, {LR.key: "null"}, COMPLETE, math.nan)]
    assert advice([*sweep(LR.key, UPWARDS), *odd], [LR, MODEL], ACCURACY) == []  # one of the best has no lr at all


def with_curves(*curves: tuple[float, ...]) -> list[Trial]:
    return [Trial(n, {}, COMPLETE, max(curve), curve=curve) for n, curve in enumerate(curves)]


RISING, PEAKED = (0.1, 0.5, 0.8), (0.1, 0.8, 0.5)


@pytest.mark.parametrize(
    ("best", "is_said"),
    [
        ([RISING, RISING, RISING], True),
        ([RISING, RISING, PEAKED], False),
        ([PEAKED, PEAKED, PEAKED], False),
        ([(0.8,), (0.8,), (0.8,)], False),  # after one epoch nobody knows
        ([(0.8, 0.8, 0.8)] * 3, False),
        ([(0.1, math.nan, 0.8)] * 3, True),
        ([(0.8, math.nan)] * 3, False),
    ],
)
def test_trials_that_were_still_getting_better(best: list[tuple[float, ...]], is_said: bool) -> None:
    said = advice(with_curves(*best, *[(0.2, 0.3)] * 4), [], ACCURACY)
    assert said == (
        ["in 3 of the 3 best trials the last epoch was the best one: raise trainer.max_epochs"] if is_said else []
    )


def test_falling_losses_are_getting_better() -> None:
    trials = [Trial(n, {}, COMPLETE, 0.1, curve=(0.9, 0.5, 0.1)) for n in range(5)]
    assert "raise trainer.max_epochs" in advice(trials, [], LOSS)[0]
    assert advice(trials, [], ACCURACY) == []


def test_epochs_that_were_swept_are_named_once() -> None:
    epochs = Dimension("trainer.max_epochs", "int", low=1, high=10)
    trials = [
        Trial(n, {epochs.key: str(e)}, COMPLETE, e / 10, curve=(0, e)) for n, e in enumerate([2, 3, 4, 10, 10, 10])
    ]
    assert advice(trials, [epochs], ACCURACY) == [
        "trainer.max_epochs: the best trials lie at the upper end (10); try a wider range, up to 14"
    ]


def test_one_error_in_many_trials_is_named_with_what_they_share() -> None:
    good = sweep(LR.key, [(10**-x, 0.5 + x / 100) for x in (2.0, 3.1, 2.2, 2.9, 2.4, 2.7)])
    bad = [
        Trial(10 + n, {LR.key: str(x)}, FAILED, error=f"no loss at step {n}") for n, x in enumerate((0.05, 0.1, 0.07))
    ]
    (said,) = advice([*good, *bad], [MODEL, LR], ACCURACY)
    assert said == "3 of 9 trials failed alike (no loss at step 0), all with optimizer.lr above 0.01; fix or avoid that"
    assert advice([*good, *bad[:2]], [LR], ACCURACY) == []  # two are not many
    apart = [Trial(one.number, one.params, FAILED, error=word) for one, word in zip(bad, "abc", strict=True)]
    assert advice([*good, *apart], [LR], ACCURACY) == []


def test_failures_of_one_choice() -> None:
    good = sweep("model", [("mlp", n / 10) for n in range(5)])
    bad = [Trial(10 + n, {"model": "cnn"}, FAILED, error="out of memory") for n in range(4)]
    (said,) = advice([*good, *bad], [MODEL], ACCURACY)
    assert said == "4 of 9 trials failed alike (out of memory), all with model=cnn; fix or avoid that"


def test_a_later_half_without_progress() -> None:
    scores = [0.5, 0.7, 0.9, 0.6, 0.5, 0.6, 0.7, 0.6, 0.5, 0.89]
    said = advice(sweep("x", [("a", score) for score in scores]), [], ACCURACY)
    assert said == [
        "the last 5 trials found nothing better than trial 2: more trials of this kind are unlikely to help"
    ]
    assert advice(sweep("x", [("a", score) for score in [*scores, 0.95]]), [], ACCURACY) == []
    assert advice(sweep("x", [("a", score) for score in scores[:8]]), [], ACCURACY) == []  # too few to say
    pruned = [Trial(number, {}, PRUNED, 0.1) for number in range(8, 12)]
    assert len(advice([*sweep("x", [("a", score) for score in scores[:8]]), *pruned], [], ACCURACY)) == 1


Formula = Callable[[float, float, int], float]
"""Score by logarithm of the learning rate, dropout, and whether the model is a CNN."""


def by_lr(lr: float, dropout: float, is_cnn: int) -> float:
    return -((lr + 2.6) ** 2)


def factorial(formula: Formula) -> list[Trial]:
    """Every combination of six learning rates, four dropouts and two models."""
    trials = []
    grid = itertools.product(
        ("1e-4", "3e-4", "1e-3", "3e-3", "1e-2", "3e-2"), ("0", "0.1", "0.2", "0.3"), MODEL.choices
    )
    for number, (lr, dropout, model) in enumerate(grid):
        params = {LR.key: lr, DROPOUT.key: dropout, MODEL.key: model}
        score = formula(math.log10(float(lr)), float(dropout), int(model == "cnn"))
        trials.append(Trial(number, params, COMPLETE, score))
    return trials


def flat(trials: list[Trial], *dimensions: Dimension) -> list[str]:
    return flat_dimensions(dimensions, best_first(trials, ACCURACY))


def test_a_dimension_without_influence_is_flat() -> None:
    trials = factorial(by_lr)
    assert flat(trials, LR, DROPOUT, MODEL) == [DROPOUT.key, MODEL.key]
    assert advice(trials, [LR, DROPOUT, MODEL], ACCURACY)[-1] == (
        "model.net.dropout, model: make no difference that these trials can tell; leave them at their defaults"
    )
    assert advice(trials, [LR, DROPOUT], ACCURACY)[-1] == (
        "model.net.dropout: makes no difference that these trials can tell; leave it at its default"
    )


def test_a_small_influence_behind_a_great_one_is_not_flat() -> None:
    # The learning rate moves the score by 2, the model by 0.1: alone, the model explains nothing.
    weak_model = factorial(lambda lr, dropout, is_cnn: by_lr(lr, dropout, is_cnn) + 0.1 * is_cnn)
    assert flat(weak_model, LR, DROPOUT, MODEL) == [DROPOUT.key]
    weak_dropout = factorial(lambda lr, dropout, is_cnn: by_lr(lr, dropout, is_cnn) + 0.3 * dropout)
    assert flat(weak_dropout, LR, DROPOUT, MODEL) == [MODEL.key]


def test_a_best_value_in_the_middle_is_an_influence() -> None:
    assert flat(factorial(lambda lr, dropout, is_cnn: -((dropout - 0.15) ** 2)), DROPOUT) == []


def test_few_trials_equal_scores_and_a_single_value_say_nothing_of_influence() -> None:
    assert flat(factorial(by_lr)[:14], LR, DROPOUT, MODEL) == []
    assert flat([Trial(n, {"model": "mlp"}, COMPLETE, 0.5) for n in range(20)], MODEL) == []
    assert flat([Trial(n, {"model": "mlp"}, COMPLETE, n / 20) for n in range(20)], MODEL) == []


def test_what_only_some_trials_have_is_judged_among_those() -> None:
    hidden = Dimension("model.net.hidden", "choice", choices=("[16]", "[64]"), when="model=mlp")
    trials = []
    for number in range(48):
        params = {"model": ("mlp", "cnn")[number % 2]}
        params |= {hidden.key: hidden.choices[number // 2 % 2]} if number % 2 == 0 else {}
        trials.append(Trial(number, params, COMPLETE, (number % 2) / 10 + number // 4 / 1000))
    assert flat(trials, MODEL, hidden) == [hidden.key]  # that it is there at all is the model's doing
    better = [Trial(t.number, t.params, COMPLETE, t.score + 0.3 * (t.params.get(hidden.key) == "[64]")) for t in trials]
    assert flat(better, MODEL, hidden) == []


def test_what_others_hang_on_is_not_flat_though_they_tell_it_all() -> None:
    """The widths exist only with a cnn: beside them, the model has nothing more to tell."""
    widths = Dimension("model.net.widths", "choice", choices=("a", "b", "c"), when="model=cnn")
    trials = [
        Trial(i, {"model": "mlp"}, COMPLETE, 0.90 + 0.001 * (i * 7 % 5)) if i % 4 == 3 else
        Trial(i, {"model": "cnn", widths.key: "abc"[i % 3]}, COMPLETE, 0.95 + 0.01 * (i % 3) + 0.001 * (i * 3 % 4))
        for i in range(32)
    ]  # fmt: skip
    assert flat(trials, MODEL, widths) == []


def test_seeds_and_folds_are_not_meant_to_matter() -> None:
    seed = Dimension("seed", "choice", choices=("0", "1"))
    trials = [
        Trial(t.number, {**t.params, "seed": str(t.number // 2 % 2)}, COMPLETE, t.score) for t in factorial(by_lr)
    ]
    assert seed.key not in flat(trials, LR, seed)


def test_five_sentences_at_most_and_failures_first() -> None:
    wide = [Dimension(f"section.x{n}", "float", low=0.0, high=10.0) for n in range(8)]
    trials = [
        Trial(n, {one.key: str(10 if n < 5 else n % 7) for one in wide}, COMPLETE, 20.0 - n, curve=(0.1, 20.0 - n))
        for n in range(20)
    ]
    trials += [Trial(20 + n, {}, FAILED, error="out of memory") for n in range(9)]
    said = advice(trials, wide, ACCURACY)
    assert len(said) == 5
    assert "out of memory" in said[0]
    assert all("upper end" in one for one in said[1:])

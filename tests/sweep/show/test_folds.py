import math
from pathlib import Path
from typing import Any

import pytest

from flywheel.sweep.show import folds


def job(score: float, *overrides: str, mode: str = "max", **more: Any) -> dict[str, Any]:
    return {"overrides": list(overrides), "monitor": "accuracy", "mode": mode, "score": score, **more}


def failed(*overrides: str) -> dict[str, Any]:
    return {"overrides": list(overrides), "score": math.nan, "error": "no longer finite"}


FIVE = [job(score, "task=t", f"fold={k}") for k, score in enumerate((0.8, 0.9, 0.7, 0.8, 0.8))]


def test_folds_by_hand() -> None:
    # Mean 0.8, deviations 0, .1, -.1, 0, 0: s = sqrt(.02/4) = 0.0707107. t(0.975, 4) = 2.776445 (any table).
    (found,) = folds.repeated(FIVE)
    assert found.over == ("fold",)
    assert found.mean == pytest.approx(0.8)
    assert found.std == pytest.approx(0.0707107, abs=1e-7)
    half = 2.776445 * 0.0707107 / math.sqrt(5)  # 0.0878
    assert found.interval == pytest.approx((0.8 - half, 0.8 + half), abs=1e-6)
    wider = 2.776445 * 0.0707107 * math.sqrt(1 / 5 + 1 / 4)  # 5 folds: one row validates for four that train
    assert found.corrected == pytest.approx((0.8 - wider, 0.8 + wider), abs=1e-6)
    assert (found.worst, found.best) == (0.7, 0.9)


def test_the_rows_counted_decide_the_correction() -> None:
    jobs = [{**one, "num_rows": {"train": 60, "validation": 30, "test": 10}} for one in FIVE]
    (found,) = folds.repeated(jobs)
    half = 2.776445 * 0.0707107 * math.sqrt(1 / 5 + 1 / 2)
    assert found.corrected == pytest.approx((0.8 - half, 0.8 + half), abs=1e-6)


def test_seeds_by_hand_have_no_correction() -> None:
    # 1, 2, 3: mean 2, s = 1, t(0.975, 2) = 4.302653, half width 4.302653/sqrt(3) = 2.484138.
    (found,) = folds.repeated([job(score, f"seed={score:.0f}", mode="min") for score in (1.0, 2.0, 3.0)])
    assert (found.over, found.mean, found.std, found.corrected) == (("seed",), 2.0, 1.0, None)
    assert found.interval == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)
    assert (found.worst, found.best) == (3.0, 1.0)


def test_with_both_each_fold_counts_once() -> None:
    scores = {(0, 0): 0.6, (0, 1): 0.8, (1, 0): 0.8, (1, 1): 1.0}
    (found,) = folds.repeated([job(score, f"fold={f}", f"seed={s}") for (f, s), score in scores.items()])
    assert found.over == ("fold", "seed")
    assert found.mean == pytest.approx(0.8)
    assert found.std == pytest.approx(math.sqrt(0.02))  # of the folds' 0.7 and 0.9
    assert found.num_jobs == 4


def test_a_failed_fold_is_named_and_the_mean_says_over_how_many() -> None:
    jobs = [*FIVE[:3], failed("task=t", "fold=3"), FIVE[4]]
    (found,) = folds.repeated(jobs)
    assert found.mean == pytest.approx((0.8 + 0.9 + 0.7 + 0.8) / 4)
    assert folds.sentences([found]) == ["job 3 (fold=3 failed: no longer finite)", "the mean is over 4 of 5 jobs"]
    row = folds.as_frame([found]).iloc[0]
    assert (row["jobs"], row["failed"]) == (5, 1)


def test_configurations_are_told_apart_best_mean_first() -> None:
    jobs = [job(score, "task=t", f"model={m}", f"seed={s}") for m, s, score in
            (("a", 0, 0.5), ("a", 1, 0.9), ("b", 0, 0.8), ("b", 1, 0.8))]  # fmt: skip
    found = folds.repeated(jobs)
    assert [one.overrides for one in found] == [["task=t", "model=b"], ["task=t", "model=a"]]
    frame = folds.as_frame(found)
    assert list(frame.columns) == ["model", "over", "metric", "jobs", "failed", "mean", "std", "low", "high", "worst",
                                   "best"]  # fmt: skip
    assert list(frame["model"]) == ["b", "a"]
    metrics = folds.metrics_of(found)
    assert metrics["folds/accuracy_mean"] == 0.8
    assert metrics["folds/model-a/accuracy_mean"] == pytest.approx(0.7)


def test_a_metric_to_be_small_is_best_when_small() -> None:
    jobs = [job(score, f"lr={lr}", f"fold={f}", mode="min") for lr, f, score in
            ((1, 0, 3.0), (1, 1, 4.0), (2, 0, 1.0), (2, 1, 2.0))]  # fmt: skip
    assert [one.mean for one in folds.repeated(jobs)] == [1.5, 3.5]


def test_other_sweeps_have_no_means() -> None:
    assert folds.repeated([job(0.5, "lr=1", "seed=0"), job(0.6, "lr=2", "seed=0")]) == []
    assert folds.repeated([]) == []


def test_a_fold_that_does_not_vary_is_a_setting_like_others() -> None:
    (found,) = folds.repeated([job(0.5, "fold=2", "seed=0"), job(0.6, "fold=2", "seed=1")])
    assert found.overrides == ["fold=2"]
    assert found.over == ("seed",)


def test_one_good_job_has_a_mean_but_no_interval() -> None:
    (found,) = folds.repeated([FIVE[0], failed("task=t", "fold=1")])
    assert found.mean == 0.8
    assert math.isnan(found.std)
    assert math.isnan(found.interval[0])
    assert set(folds.metrics_of([found])) == {f"folds/accuracy_{key}" for key in ("mean", "worst", "best", "num_jobs")}


TWO_MODELS = [job(0.1 * seed, f"model={name}", f"seed={seed}") for name in "ab" for seed in range(3)]


@pytest.mark.parametrize("jobs", [FIVE, [FIVE[0], failed("task=t", "fold=1")], TWO_MODELS])
def test_the_picture_is_a_picture_and_always_the_same(tmp_path: Path, jobs: list[dict[str, Any]]) -> None:
    for name in ("one.png", "two.png"):
        folds.draw(folds.repeated(jobs), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()

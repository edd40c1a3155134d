from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flywheel.project.config import RegisterConfig
from flywheel.project.errors import ConfigError
from flywheel.registry.gate import Candidate, Champion, Decision, check_rules, decide, refused, standing
from flywheel.report.classification import ClassificationReport

REPORT = ClassificationReport(["a", "b", "c"])
RULES = RegisterConfig("accuracy", margin=0.01)


def answers(target: np.ndarray[Any, Any], num_wrong: int, confidence: float = 0.9) -> np.ndarray[Any, Any]:
    """Scores that name the right class in all but the first `num_wrong` rows."""
    said = target.copy()
    said[:num_wrong] = (said[:num_wrong] + 1) % 3
    scores = np.full((len(target), 3), (1 - confidence) / 2, dtype=np.float32)
    scores[np.arange(len(target)), said] = confidence
    return scores


def candidate(num_wrong: int = 10, rows: int = 1000, *, num_bytes: int = 1000, latency_ms: float = 1.0,
              confidence: float = 0.9) -> Candidate:  # fmt: skip
    target = np.arange(rows) % 3
    return Candidate("c" * 64, target, answers(target, num_wrong, confidence), "t" * 64, num_bytes, latency_ms)


def champion(num_wrong: int = 10, rows: int = 1000, *, confidence: float = 0.9) -> Champion:
    return Champion("o" * 64, answers(np.arange(rows) % 3, num_wrong, confidence))


def test_the_first_model_is_promoted_and_says_that_it_was_compared_with_nothing() -> None:
    found = decide(RULES, REPORT, candidate(), None)
    assert found.promoted
    assert found.champion is None
    assert "first model" in found.why
    assert "compared with nothing" in found.why
    assert "0.9900" in found.why


def test_an_equal_model_is_no_reason_to_change_the_champion() -> None:
    found = decide(RULES, REPORT, candidate(), champion())
    assert not found.promoted
    assert found.difference == 0
    assert "equal is no reason to change it" in found.why


def test_another_form_of_an_equal_model_is_promoted() -> None:
    """Whoever asks for a smaller variant that answers alike gets it."""
    found = decide(RULES, REPORT, replace(candidate(), variant="int8"), replace(champion(), model_sha256="c" * 64))
    assert found.promoted
    assert found.interval == (0, 0)


def test_an_equal_model_of_other_rows_is_promoted_where_the_test_set_can_tell() -> None:
    """What it has learnt from new rows need not show on the old ones."""
    assert decide(RULES, REPORT, replace(candidate(0), train_sha256="new"), champion(0)).promoted
    found = decide(RULES, REPORT, replace(candidate(0, 40), train_sha256="new"), champion(0, 40))
    assert not found.promoted
    assert "95% interval -0.0876 to +0.0876" in found.why


def test_margins_do_not_add_up_over_champions() -> None:
    """Each is within the margin of the one before; the third is not within it of the first."""
    rules = RegisterConfig("accuracy", margin=0.012)
    first, second, third = 100, 150, 200  # mistakes of 10,000
    assert decide(rules, REPORT, candidate(third, 10_000), champion(second, 10_000)).promoted
    found = decide(rules, REPORT, candidate(third, 10_000), champion(second, 10_000), champion(first, 10_000))
    assert not found.promoted
    assert "the best so far's 0.9900" in found.why
    assert found.best == "o" * 64
    assert (found.best_value, found.difference) == (0.99, pytest.approx(-0.005))
    assert found.best_difference == pytest.approx(-0.01)
    better = decide(rules, REPORT, candidate(90, 10_000), champion(second, 10_000), champion(first, 10_000))
    assert better.promoted


def test_few_rows_that_happen_to_speak_for_the_candidate_decide_nothing() -> None:
    """Of 36 rows one tells the models apart: resampling never shows a row that speaks against it."""
    found = decide(RegisterConfig("accuracy", margin=0.03), REPORT, candidate(1, 36), champion(2, 36))
    assert not found.promoted
    assert found.difference is not None
    assert found.difference > 0
    assert found.interval is not None
    assert found.interval[0] < -0.03
    assert "test rows, or folds instead" in found.why


def test_groups_of_rows_are_resampled_whole() -> None:
    """The candidate loses one speaker of ten and wins another: by rows it is known to be as good, by speakers not."""
    target = np.arange(1000) % 3
    groups = np.arange(1000) // 100
    own, other = answers(target, 100), np.roll(answers(target, 100), 100, axis=0)
    other = np.concatenate([answers(target, 0)[:100], answers(target[100:], 100)])
    rules = RegisterConfig("accuracy", margin=0.05)
    alone = Candidate("c" * 64, target, own, "t" * 64, 1000, 1.0)
    assert decide(rules, REPORT, alone, Champion("o" * 64, other)).promoted
    found = decide(rules, REPORT, replace(alone, groups=groups), Champion("o" * 64, other))
    assert not found.promoted
    assert found.num_groups == 10
    assert "by 10 groups" in found.why
    assert "groups of test rows" in found.why


def test_how_often_the_test_set_was_used_is_said() -> None:
    assert "test set" not in decide(RULES, REPORT, candidate(10), champion(100)).why.replace("test rows", "")
    found = decide(RULES, REPORT, replace(candidate(10), num_judged=7), champion(100))
    assert found.why.endswith("This test set has judged 7 models.")
    assert found.to_json()["num_judged"] == 7


def test_a_better_model_is_promoted() -> None:
    found = decide(RULES, REPORT, candidate(num_wrong=10), champion(num_wrong=100))
    assert found.promoted
    assert found.difference == pytest.approx(0.09)
    assert found.interval is not None
    assert found.interval[0] > 0


def test_a_clearly_worse_model_is_refused() -> None:
    found = decide(RULES, REPORT, candidate(num_wrong=100), champion(num_wrong=10))
    assert not found.promoted
    assert "worse by more than the margin of 0.01" in found.why
    assert "0.9000 against the champion's 0.9900 on the same 1000 test rows" in found.why


def test_a_loss_that_the_interval_keeps_within_the_margin_is_promoted() -> None:
    found = decide(RegisterConfig("accuracy", margin=0.05), REPORT, candidate(num_wrong=30), champion(num_wrong=10))
    assert found.promoted
    assert found.difference == pytest.approx(-0.02)


def test_a_test_set_too_small_to_tell_refuses_and_says_what_would_do() -> None:
    target = np.arange(100) % 3
    other = answers(target, 0)
    other[-3:] = np.roll(other[-3:], 1, axis=1)  # as many mistakes, elsewhere
    found = decide(RULES, REPORT, candidate(num_wrong=3, rows=100), Champion("o" * 64, other))
    assert not found.promoted
    assert found.difference == 0
    rows = int(found.why.split("takes about ")[1].split(" ")[0].replace(",", ""))
    assert 1_000 < rows < 5_000
    times = -(-rows // 100)
    more = Candidate("c" * 64, np.tile(target, times), np.tile(answers(target, 3), (times, 1)), "t" * 64, 1000, 1.0)
    assert decide(RULES, REPORT, more, Champion("o" * 64, np.tile(other, (times, 1)))).promoted


def test_less_is_better_for_log_loss() -> None:
    rules = RegisterConfig("log_loss", mode="min", margin=0.01)
    sure, unsure = candidate(num_wrong=0, confidence=0.99), candidate(num_wrong=0, confidence=0.6)
    assert decide(rules, REPORT, sure, champion(0, confidence=0.6)).promoted
    worse = decide(rules, REPORT, unsure, champion(0, confidence=0.99))
    assert not worse.promoted
    assert worse.difference is not None
    assert worse.difference > 0.01


def test_pairing_sees_what_two_separate_intervals_cannot() -> None:
    """The models share 290 of 300 mistakes: the difference is known far better than either accuracy."""
    rules = RegisterConfig("accuracy", margin=0.02)
    found = decide(rules, REPORT, candidate(num_wrong=300), champion(num_wrong=290))
    assert found.promoted
    assert found.interval is not None
    assert found.interval[1] - found.interval[0] < 0.015  # each alone: 0.057


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "auc", "precision_macro", "recall_macro"])
def test_every_metric_of_the_report_can_decide(metric: str) -> None:
    rules = RegisterConfig(metric, margin=0.01)
    assert decide(rules, REPORT, candidate(10), champion(100)).promoted
    assert not decide(rules, REPORT, candidate(100), champion(10)).promoted


def test_budgets_refuse_whatever_the_metric_says() -> None:
    rules = RegisterConfig("accuracy", max_bytes=999, max_latency_ms=0.5)
    found = decide(rules, REPORT, candidate(0), champion(500))
    assert not found.promoted
    assert "1000 bytes are more than 999 (register.max_bytes)" in found.why
    assert "0.5 ms (register.max_latency_ms)" in found.why
    assert not decide(rules, REPORT, candidate(0), None).promoted
    no_budget = RegisterConfig("accuracy", max_bytes=None, max_latency_ms=None)
    assert "budget" not in decide(no_budget, REPORT, candidate(0, latency_ms=1e9), None).why


def test_the_measured_latency_is_in_no_decision() -> None:
    rules = RegisterConfig("accuracy", max_latency_ms=5.0)
    found = [decide(rules, REPORT, candidate(latency_ms=ms), champion()).to_json() for ms in (1.234, 4.321)]
    assert found[0] == found[1]
    slow = [decide(rules, REPORT, candidate(latency_ms=ms), None) for ms in (5.1, 9.0)]
    assert slow[0] == slow[1]
    assert not slow[0].promoted


def test_a_metric_that_is_not_defined_refuses() -> None:
    target = np.zeros(50, np.int64)
    one_class = Candidate("c" * 64, target, answers(target, 0), "t" * 64, 1, 1.0)
    found = decide(RegisterConfig("auc"), REPORT, one_class, Champion("o" * 64, answers(target, 0)))
    assert not found.promoted
    assert "one class only" in found.why


def test_the_decision_about_the_champion_itself_stays_as_it_was() -> None:
    first = decide(RULES, REPORT, candidate(num_wrong=10), champion(num_wrong=12))
    stored = json.loads(json.dumps(first.to_json()))
    again = standing(RULES, REPORT, candidate(num_wrong=10), stored)
    assert again.to_json() == first.to_json()
    assert isinstance(again, Decision)


def test_a_champion_judged_by_other_rules_or_by_hand_is_told_as_such() -> None:
    first = decide(RULES, REPORT, candidate(), None).to_json()
    for rules, stored in ((RegisterConfig("accuracy", margin=0.5), first), (RULES, None),
                          (RULES, {**first, "promoted": False})):  # fmt: skip
        found = standing(rules, REPORT, candidate(), stored)
        assert found.promoted
        assert "champion already" in found.why


def test_a_refusal_for_another_reason_keeps_the_facts() -> None:
    found = refused(RULES, REPORT, candidate(), "Refused: because.")
    assert not found.promoted
    assert found.why == "Refused: because."
    assert found.candidate_value == 0.99


@pytest.mark.parametrize(("rules", "words"), [
    (RegisterConfig("acuracy"), "did you mean 'accuracy'"),
    (RegisterConfig("log_loss", mode="max"), "set it to min"),
    (RegisterConfig("accuracy", mode="min"), "set it to max"),
])  # fmt: skip
def test_rules_that_cannot_be_meant_are_refused(rules: RegisterConfig, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_rules(rules, REPORT)


def test_good_rules_pass() -> None:
    check_rules(RULES, REPORT)
    check_rules(RegisterConfig("log_loss", mode="min", margin=0), REPORT)

"""When the loop retrains, waits, goes on and gives up for a while."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.monitor.conftest import NOW

from flywheel.monitor.journal import Entry
from flywheel.monitor.steering import Facts, LoopSettings, last_retrain, load_settings, plan, unfinished
from flywheel.project.errors import ConfigError

SETTINGS = LoopSettings()
DRIFT = ["inputs have drifted: brightness (40% of rows)"]


def facts(new: int, reasons: list[str] | None = None) -> Facts:
    return Facts(reasons or [], 500, new, NOW)


def at(hours_ago: float) -> str:
    return (NOW - timedelta(hours=hours_ago)).isoformat()


def retrained(hours_ago: float, outcome: Any = "promoted") -> list[Entry]:
    """A retraining of six minutes that ended so long ago."""
    return [Entry(at(hours_ago + 0.1), "retrain", "started", ""), Entry(at(hours_ago), "retrain", "ended", "", outcome)]


@pytest.mark.parametrize(
    ("new", "reasons", "action", "said"),
    [
        (0, [], "wait", "nothing has drifted, and 0 new right answers are fewer than 200"),
        (199, [], "wait", "nothing has drifted"),
        (200, [], "retrain", "200 new right answers are enough (200)"),
        (49, DRIFT, "wait", "49 new right answers are fewer than 50, and the same data give the same model"),
        (50, DRIFT, "retrain", "brightness (40% of rows); 50 new right answers"),
    ],
)
def test_drift_and_feedback_decide(new: int, reasons: list[str], action: str, said: str) -> None:
    found = plan(SETTINGS, facts(new, reasons), [])
    assert found.action == action
    assert said in found.why


def test_a_retraining_cools_down_whatever_came_of_it() -> None:
    for outcome in ("promoted", "refused", "unchanged"):
        assert plan(SETTINGS, facts(500), retrained(5.9, outcome)).action == "wait"
        assert plan(SETTINGS, facts(500), retrained(6.1, outcome)).action == "retrain"
    rolled = [Entry(at(1), "rollback", "ended", "", "rolled back")]
    assert "the last rollback cools down: not before" in plan(SETTINGS, facts(500), rolled).why


def test_no_more_retrainings_a_day_than_are_allowed() -> None:
    journal = retrained(20) + retrained(10)
    found = plan(SETTINGS, facts(500), journal)
    assert "2 retrainings in 24 hours are the limit: not before 2026-11-25T15:54" in found.why
    assert plan(SETTINGS, facts(500), retrained(24.1) + retrained(10)).action == "retrain"


def test_failures_back_off_twice_as_long_each_time() -> None:
    settings = LoopSettings(cooldown_hours=0, backoff_hours=1, max_retrains_a_day=99)
    twice = retrained(9, "failed") + retrained(1.9, "failed")
    assert "2 retrainings in a row have failed" in plan(settings, facts(500), twice).why
    assert plan(settings, facts(500), retrained(9, "failed") + retrained(2.1, "failed")).action == "retrain"
    many = [entry for ago in range(30, 0, -1) for entry in retrained(25.0 * ago, "failed")]
    assert plan(settings, facts(500), many).action == "retrain", "a day at most"
    assert plan(settings, facts(500), retrained(9, "failed") + retrained(0.1, "promoted")).action == "retrain"


def test_what_was_interrupted_goes_on_at_once_but_not_for_ever() -> None:
    begun = [Entry(at(0.1), "retrain", "started", "")]
    assert plan(SETTINGS, facts(0), begun).why == "the previous retraining was interrupted; it resumes"
    assert plan(SETTINGS, facts(0), retrained(0.1, "interrupted")).action == "retrain"
    thrice = [entry for _ in range(3) for entry in retrained(0.1, "interrupted")]
    assert plan(SETTINGS, facts(500), thrice).action == "wait"


def test_what_was_said_before_a_retraining_is_not_new_unless_it_failed() -> None:
    assert last_retrain(retrained(9, "refused")) == datetime.fromisoformat(at(9.1))
    assert last_retrain(retrained(9, "promoted") + retrained(5, "failed")) == datetime.fromisoformat(at(9.1))
    assert last_retrain([]) is None
    assert unfinished(retrained(1)) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_retrains_a_day: 0\n", "loop.max_retrains_a_day: 0 is out of range"),
        ("rollback_confidence: 1.0\n", "loop.rollback_confidence"),
        ("cooldown: 3\n", "did you mean 'cooldown_hours'"),
        ("tasks: {fashion: {poll_minutes: -1}}\n", "loop.tasks.fashion.poll_minutes: -1"),
    ],
)
def test_mistakes_in_the_settings_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/loop.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_settings(tmp_path, "fashion")
    assert said in str(error.value)


def test_the_committed_settings_are_the_defaults(root: Path) -> None:
    assert load_settings(root, "fashion") == LoopSettings()

"""What the loop does next, and why: pure functions of settings, figures and what was done before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from flywheel.monitor.journal import Entry
from flywheel.monitor.settings import read_for_task
from flywheel.project.settings import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from flywheel.project.types import Json

FILE = Path("conf/loop.yaml")
Action = Literal["wait", "retrain"]
DAY = timedelta(hours=24)
MAX_BACKOFF_HOURS = 24.0
MAX_INTERRUPTIONS = 3


@dataclass
class LoopSettings:
    """When a task is retrained, and when a new champion is rolled back.

    Attributes:
        min_feedback: New right answers that are enough to retrain without drift; 0: only drift or lost quality is a
            reason.
        min_feedback_drifted: New right answers that are needed where traffic has drifted or quality has fallen: the
            same data would give the same model.
        cooldown_hours: Pause after a retraining, before the next.
        max_retrains_a_day: Most retrainings in any 24 hours.
        backoff_hours: Pause after a retraining that failed; it doubles with each further failure, up to a day.
        since: How far back traffic is looked at, written as for `flywheel monitor --since`.
        poll_minutes: Pause between two turns of `--watch`.
        rebuild_hours: Time after which a `dvc repro` is ended.
        rollback: Whether a new champion that does worse in service than the one before is rolled back.
        min_rollback_rows: Rows with a known right answer that this comparison needs.
        rollback_confidence: Confidence of its interval, all of which must say that the new champion is worse.
        tasks: Values for single tasks, by name; they take the place of those for all tasks.
    """

    min_feedback: NonNegativeInt = 200
    min_feedback_drifted: NonNegativeInt = 50
    cooldown_hours: NonNegativeFloat = 6.0
    max_retrains_a_day: PositiveInt = 2
    backoff_hours: NonNegativeFloat = 1.0
    since: str = "7d"
    poll_minutes: PositiveFloat = 10.0
    rebuild_hours: PositiveFloat = 12.0
    rollback: bool = True
    min_rollback_rows: PositiveInt = 100
    rollback_confidence: Fraction = 0.99
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)


def load_settings(root: Path, task: str) -> LoopSettings:
    """Read a task's settings from `conf/loop.yaml`.

    Raises:
        ConfigError: The file is not YAML, or holds what `settings_from` refuses.
    """
    return read_for_task(LoopSettings, root / FILE, "loop", task)


@dataclass(frozen=True)
class Facts:
    """What the loop knows when it decides.

    Attributes:
        reasons: Sentences that say what has drifted or fallen.
        num_predictions: The number of predictions of the window.
        num_new: Right answers that people have given since the last retraining.
        now: The time, with a zone.
    """

    reasons: Sequence[str]
    num_predictions: int
    num_new: int
    now: datetime

    def to_json(self) -> Json:
        """Plain data, for the journal."""
        return {key: value for key, value in asdict(self).items() if key != "now"}


@dataclass(frozen=True)
class LoopPlan:
    """What to do, and why, in words."""

    action: Action
    why: str


def plan(settings: LoopSettings, facts: Facts, journal: Sequence[Entry]) -> LoopPlan:
    """Decide.

    Args:
        settings: The settings of the task.
        facts: The present facts.
        journal: Entries of the journal, the oldest first.
    """
    if unfinished(journal) and interruptions(journal) < MAX_INTERRUPTIONS:
        return LoopPlan("retrain", "the previous retraining was interrupted; it resumes")
    trigger = _trigger(settings, facts)
    if trigger.action == "wait":
        return trigger
    until, held = held_back(settings, journal, facts.now)
    if until is not None and facts.now < until:
        return LoopPlan("wait", f"{trigger.why}, but {held}: not before {until.isoformat(timespec='minutes')}")
    return trigger


def held_back(settings: LoopSettings, journal: Sequence[Entry], now: datetime) -> tuple[datetime | None, str]:
    """Until when the next retraining has to wait, and why; None: it has not."""
    found: list[tuple[datetime, str]] = []
    ended = [entry for entry in journal if entry.state == "ended" and entry.action in ("retrain", "rollback")]
    if ended:
        cooldown = timedelta(hours=settings.cooldown_hours)
        found.append((ended[-1].when + cooldown, f"the last {ended[-1].action} cools down"))
    failures = num_failures(journal)
    if failures:
        hours = min(MAX_BACKOFF_HOURS, settings.backoff_hours * 2.0 ** (failures - 1))
        found.append((ended[-1].when + timedelta(hours=hours), f"{failures} retrainings in a row have failed"))
    today = [entry.when for entry in journal if entry.state == "started" and entry.when > now - DAY]
    if len(today) >= settings.max_retrains_a_day:
        freed = sorted(today)[-settings.max_retrains_a_day] + DAY
        found.append((freed, f"{len(today)} retrainings in 24 hours are the limit"))
    return max(found, default=(None, ""), key=lambda one: one[0])


def num_failures(journal: Sequence[Entry]) -> int:
    """How many retrainings have failed since one did not."""
    number = 0
    for entry in reversed(journal):
        if entry.state == "ended" and entry.action == "retrain":
            if entry.outcome not in ("failed", "interrupted"):
                break
            number += 1
    return number


def unfinished(journal: Sequence[Entry]) -> Entry | None:
    """The retraining that was begun and of which no end is known; None: there is none."""
    begun = None
    for entry in journal:
        if entry.action == "retrain" and entry.state == "started":
            begun = entry
        elif entry.action == "retrain" and entry.state == "ended" and entry.outcome != "interrupted":
            begun = None
    return begun


def interruptions(journal: Sequence[Entry]) -> int:
    """How often in a row a retraining was interrupted."""
    number = 0
    for entry in reversed(journal):
        if entry.state == "ended" and entry.action == "retrain":
            if entry.outcome != "interrupted":
                break
            number += 1
    return number


def last_retrain(journal: Sequence[Entry]) -> datetime | None:
    """When the last retraining that succeeded began: later feedback is new."""
    begun: datetime | None = None
    last = None
    for entry in journal:
        if entry.action == "retrain" and entry.state == "started":
            begun = entry.when
        elif entry.action == "retrain" and entry.state == "ended" and entry.outcome not in ("failed", "interrupted"):
            last = begun
    return last


def _trigger(settings: LoopSettings, facts: Facts) -> LoopPlan:
    said, why = f"{facts.num_new} new right answers", "; ".join(facts.reasons)
    if facts.reasons and facts.num_new >= settings.min_feedback_drifted:
        return LoopPlan("retrain", f"{why}; {said}")
    if settings.min_feedback and facts.num_new >= settings.min_feedback:
        return LoopPlan("retrain", f"{said} are enough ({settings.min_feedback})")
    if facts.reasons:
        wanted = settings.min_feedback_drifted
        return LoopPlan("wait", f"{why}; but {said} are fewer than {wanted}, and the same data give the same model")
    return LoopPlan("wait", f"nothing has drifted, and {said} are fewer than {settings.min_feedback}")

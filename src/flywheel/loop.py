"""The loop: drift or enough feedback, pull, `dvc repro`, the gate; and back again where the new champion is worse."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.project.errors import FlywheelError
from flywheel.project.whole import read_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from rich.table import Table

    from flywheel.monitor.comparison import Comparison
    from flywheel.monitor.journal import Entry, Journal
    from flywheel.monitor.steering import Facts, LoopSettings
    from flywheel.monitor.window import Traffic
    from flywheel.registry.versions import Version

log = logging.getLogger("flywheel")


@dataclass(frozen=True)
class Turn:
    """Result of one turn of the loop: the journal's last line about it."""

    entry: Entry

    @property
    def failed(self) -> bool:
        """Whether a retraining failed."""
        return self.entry.outcome in ("failed", "interrupted")


def once(task: str, *, dry_run: bool = False, traffic: Traffic | None = None) -> Turn:
    """Check the traffic, decide, and act.

    Args:
        task: A registered model and a task of `params.yaml`.
        dry_run: Decide, and do and write nothing.
        traffic: Store of the predictions; None: the feedback store.

    Raises:
        FlywheelError: Another loop is at work on this task, or a setting is invalid.
    """
    from flywheel.monitor.steering import load_settings
    from flywheel.project.params import home_root, load_task
    from flywheel.watch import open_traffic

    settings = load_settings(home_root(), task)
    load_task(task)
    with _alone(task):
        return _Loop(task, settings, traffic or open_traffic()).turn(dry_run=dry_run)


def keep_on(task: str) -> Iterator[Turn]:
    """Take turn after turn, with pauses; an error is logged, and the next turn tries again."""
    from flywheel.monitor.steering import load_settings
    from flywheel.project.params import home_root
    from flywheel.project.tracking import store_errors

    errors: tuple[type[Exception], ...] = (FlywheelError, OSError, *store_errors())
    while True:
        try:
            yield once(task)
        except errors as error:
            log.warning("loop: %s", str(error).splitlines()[0][:300])
        time.sleep(load_settings(home_root(), task).poll_minutes * 60)


def journal_of(task: str) -> Journal:
    """A task's journal."""
    from flywheel.monitor.journal import Journal
    from flywheel.project.params import state_dir

    return Journal(state_dir() / "loop" / f"{task}.jsonl")


def table(entries: list[Entry], task: str) -> Table:
    """The journal for a terminal; a pid is left out."""
    from rich.table import Table

    made = Table(title=f"{task}: what the loop did", title_justify="left")
    for column in ("time (UTC)", "action", "outcome", "champion", "why"):
        made.add_column(column, overflow="fold")
    for entry in entries:
        if entry.state != "running":
            moved = "" if entry.new_version is None else f"{entry.old_version} -> {entry.new_version}"
            made.add_row(
                entry.time[:16].replace("T", " "), entry.action, entry.outcome or entry.state, moved, entry.why
            )
    return made


def _was_alarmed(entries: list[Entry]) -> bool:
    """Whether the last check found something, so that the same alert is not sent every ten minutes."""
    return any(entry.figures.get("reasons") for entry in [one for one in entries if one.figures][-1:])


@contextmanager
def _alone(task: str) -> Iterator[None]:
    """Lock the task's loop for this process; the lock ends with the process, however that ends."""
    from filelock import FileLock, Timeout

    file = journal_of(task).file.with_suffix(".lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FlywheelError("another loop is working on this task", where=file, fix="wait for it") from None
    try:
        yield
    finally:
        lock.release()


class _Loop:
    """One turn."""

    def __init__(self, task: str, settings: LoopSettings, traffic: Traffic) -> None:
        from flywheel.project.params import home_root
        from flywheel.project.tracking import prepare

        self.task, self.settings, self.traffic, self.root = task, settings, traffic, home_root()
        self.client: MlflowClient = prepare()
        self.journal = journal_of(task)

    def turn(self, *, dry_run: bool) -> Turn:
        from flywheel.monitor import steering
        from flywheel.monitor.comparison import beside_the_former
        from flywheel.monitor.rebuild import still_running
        from flywheel.watch import alert, watch

        entries = self.journal.read()
        begun = steering.unfinished(entries)
        pids = [entry.pid for entry in entries if entry.state == "running"]
        if begun is not None and pids and still_running(pids[-1]):
            why = f"a retraining that a killed loop began still runs (pid {pids[-1]})"
            return self._note(dry_run, "wait", "decided", why)
        last = next((entry for entry in reversed(entries) if entry.action == "retrain"), None)
        if last is not None and last.state != "ended":
            ended = self._entry("retrain", "ended", "the loop was killed while it ran", outcome="interrupted")
            entries.append(ended)
            if not dry_run:
                self.journal.add(ended)
        compared = beside_the_former(self.client, self.task, self.traffic, self.settings)
        if compared is not None and compared.worse:
            return self._take_back(compared, dry_run=dry_run)
        check = watch(self.task, since=self.settings.since, traffic=self.traffic).check
        new = self._num_new(steering.last_retrain(entries))
        facts = steering.Facts(check.reasons, check.num_rows, new, datetime.now(UTC))
        found = steering.plan(self.settings, facts, entries)
        if not dry_run and not _was_alarmed(entries):
            alert(check, None)
        if found.action == "wait" or dry_run:
            return self._note(dry_run, found.action, "decided", found.why, figures=facts.to_json())
        return self._retrain(found.why, facts)

    def _retrain(self, why: str, facts: Facts) -> Turn:
        from flywheel.monitor import rebuild
        from flywheel.monitor.journal import now
        from flywheel.project.dvc_lock import keep_or_restore

        before = self._champion()
        words = rebuild.commands(self.root, self.task)
        file = self.journal.file.parent / self.task / f"{now().replace(':', '')}.log"
        shown = [" ".join([Path(one[0]).name, *one[1:]]) for one in words]
        told = {"old_version": before, "ran": shown, "log": str(file), "figures": facts.to_json()}
        self._note(False, "retrain", "started", why, **told)
        code, seconds = 0, self.settings.rebuild_hours * 3600
        try:
            with self._one_rebuild_at_a_time():
                keep_or_restore(self.root)
                for command in words:
                    code = code or rebuild.run(
                        command, self.root, file, seconds, lambda pid: self._running(why, pid)
                    )  # fmt: skip
        except BaseException:
            self._note(False, "retrain", "ended", "the loop was ended while it ran", outcome="interrupted", **told)
            raise
        if code:
            said = f"exit code {code}: {rebuild.tail(file)}"
            return self._note(False, "retrain", "ended", said, outcome="failed", **told)
        return self._judged(told, before)

    def _judged(self, told: Mapping[str, object], before: int | None) -> Turn:
        """Describe the gate's decision on the retraining."""
        from flywheel.registry import versions

        after = self._champion()
        decision = read_json(self.root / "artifacts" / self.task / "decision.json")
        candidate = versions.by_alias(self.client, self.task, versions.CANDIDATE)
        number = candidate.number if candidate else after
        outcome = "promoted" if after != before else "unchanged" if number == before else "refused"
        return self._note(
            False, "retrain", "ended", str(decision["why"]), outcome=outcome, new_version=number, **told
        )  # fmt: skip

    def _take_back(self, compared: Comparison, *, dry_run: bool) -> Turn:
        from flywheel.registry.aliases import rollback

        before, why = self._champion(), f"worse in service than the champion before: {compared.words}"
        if dry_run:
            return self._note(True, "rollback", "decided", why, old_version=before)
        event = rollback(self.task, f"by the loop: {why}")
        return self._note(
            False, "rollback", "ended", why, outcome="rolled back", old_version=before, new_version=event.after
        )  # fmt: skip

    def _num_new(self, since: datetime | None) -> int:
        """Number of predictions with a right answer that arrived since then."""
        said = self.traffic.answered(self.task, since=since, with_input=False)
        return len({one.prediction.prediction_id for one in said
                    if one.feedback.label is not None or one.feedback.correct})  # fmt: skip

    def _champion(self) -> int | None:
        from flywheel.registry import versions

        found: Version | None = versions.by_alias(self.client, self.task, versions.CHAMPION)
        return found.number if found else None

    @contextmanager
    def _one_rebuild_at_a_time(self) -> Iterator[None]:
        """DVC lets one rebuild at a time into a project: loops of other tasks wait for each other."""
        from filelock import FileLock

        with FileLock(self.journal.file.parent / "rebuild.lock"):
            yield

    def _running(self, why: str, pid: int) -> None:
        self.journal.add(self._entry("retrain", "running", why, pid=pid))

    def _note(self, dry_run: bool, action: str, state: str, why: str, **told: object) -> Turn:
        entry = self._entry(action, state, why, **told)
        if not dry_run:
            self.journal.add(entry)
        return Turn(entry)

    def _entry(self, action: str, state: str, why: str, **told: object) -> Entry:
        from flywheel.monitor.journal import Entry, now

        return Entry(now(), action, state, why, **told)  # type: ignore[arg-type]

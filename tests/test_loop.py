"""`flywheel loop`: one turn after another, with rebuilds that succeed, fail, hang on and are killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import forked
from tests.monitor.conftest import NOW, Memory

from flywheel import loop
from flywheel.project.dvc_lock import keep
from flywheel.project.errors import FlywheelError
from flywheel.registry import aliases, versions

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("loop")]

REGISTER = """
import shutil, sys
from pathlib import Path
shutil.rmtree("artifacts/digits"); shutil.copytree(sys.argv[1], "artifacts/digits")
from dataclasses import replace
from flywheel.project.params import load_task
from flywheel.register import register
task = load_task("digits")
register(replace(task, register=replace(task.register, margin=float(sys.argv[2]))))
"""


@pytest.fixture
def project_of_digits(project: Path, digits: Any, with_tasks: Callable[..., None]) -> Path:
    """A project with digits/1 (`good`) in service, and settings under which little is reason enough."""
    from flywheel.register import register

    with_tasks("digits")
    digits.use("good", project)
    register(digits.task)
    text = "min_feedback: 30\nmin_rollback_rows: 30\nmax_retrains_a_day: 9\nbackoff_hours: 5\n"
    (project / "conf/loop.yaml").write_text(text)
    return project


@pytest.fixture
def rebuild_by(monkeypatch: pytest.MonkeyPatch, digits: Any) -> Callable[..., None]:
    """Let a retraining run programs instead of DVC: `rebuild_by(model="close")` registers that model."""

    def use(program: str = REGISTER, *, model: str = "close", margin: float = 1.0) -> None:
        words = [sys.executable, "-c", program, str(digits.folder / model), str(margin)]
        monkeypatch.setattr("flywheel.monitor.rebuild.commands", lambda root, task: [words])

    return use


@pytest.fixture
def traffic() -> Memory:
    return Memory()


def fill(traffic: Memory, digits: Any, number: int, *, version: int = 1, right: float = 1.0) -> None:
    """Add test rows whose right answer is known; the version answers that share of them rightly."""
    from safetensors.numpy import load_file

    test = load_file(digits.folder / digits.processed / "test.safetensors")
    ago = (datetime.now(UTC) - NOW).total_seconds() / 60 - 60
    for place in range(number):
        label = int(test["target"][place])
        answer = {"label": str(label if place < right * number else (label + 1) % 10), "probability": 0.9}
        row = {"image": test["image"][place, 0].tolist()}
        traffic.add(answer, row=row, label=str(label), version=version, minutes=ago + place / 100)


def states(task: str = "digits") -> list[tuple[str, str, str]]:
    return [(entry.action, entry.state, entry.outcome) for entry in loop.journal_of(task).read()]


def champion() -> int:
    from flywheel.project.tracking import prepare

    found = versions.by_alias(prepare(), "digits", "champion")
    assert found is not None
    return found.number


def test_little_said_is_waited_for_and_the_decision_is_kept(
    project_of_digits: Path, traffic: Memory, digits: Any
) -> None:
    fill(traffic, digits, 29)
    turn = loop.once("digits", traffic=traffic)
    assert turn.entry.why == "nothing has drifted, and 29 new right answers are fewer than 30"
    assert states() == [("wait", "decided", "")]
    assert loop.journal_of("digits").read()[0].figures["num_new"] == 29


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    project_of_digits: Path, traffic: Memory, digits: Any
) -> None:
    fill(traffic, digits, 30)
    turn = loop.once("digits", dry_run=True, traffic=traffic)
    assert (turn.entry.action, turn.entry.why) == ("retrain", "30 new right answers are enough (30)")
    assert states() == []


@pytest.mark.end_to_end
def test_a_retraining_is_promoted_cools_down_and_is_taken_back_where_it_is_worse(
    project_of_digits: Path, traffic: Memory, digits: Any, rebuild_by: Callable[..., None]
) -> None:
    fill(traffic, digits, 40)
    rebuild_by(model="bad")  # the gate is told to let it pass: only traffic can show what it is
    turn = loop.once("digits", traffic=traffic)
    assert (turn.entry.outcome, turn.entry.old_version, turn.entry.new_version) == ("promoted", 1, 2)
    assert champion() == 2
    assert Path(turn.entry.log).read_text().startswith("> ")
    fill(traffic, digits, 20, version=2, right=0.1)
    assert loop.once("digits", traffic=traffic).entry.action == "wait", "too few to tell"
    fill(traffic, digits, 60, version=2, right=0.1)
    dry = loop.once("digits", dry_run=True, traffic=traffic)
    assert (dry.entry.action, champion()) == ("rollback", 2)
    turn = loop.once("digits", traffic=traffic)
    assert (turn.entry.outcome, turn.entry.old_version, turn.entry.new_version) == ("rolled back", 2, 1)
    assert "on the same rows" in turn.entry.why
    assert champion() == 1
    assert "by the loop: worse in service" in aliases.history(_client(), "digits")[-1].why
    assert "cools down" in loop.once("digits", traffic=traffic).entry.why
    # The gate does not let it in again.
    (project_of_digits / "conf/loop.yaml").write_text("min_feedback: 30\ncooldown_hours: 0\n")
    turn = loop.once("digits", traffic=traffic)
    assert turn.entry.outcome == "refused"
    assert "rolled them back" in turn.entry.why
    assert champion() == 1
    shown = loop.table(loop.journal_of("digits").read(), "digits")
    assert shown.row_count == len([state for state in states() if state[1] != "running"])


def _client() -> Any:
    from flywheel.project.tracking import prepare

    return prepare()


def test_a_failed_rebuild_leaves_the_champion_and_backs_off(
    project_of_digits: Path, traffic: Memory, digits: Any, rebuild_by: Callable[..., None]
) -> None:
    (project_of_digits / "conf/loop.yaml").write_text("min_feedback: 30\ncooldown_hours: 0\nbackoff_hours: 5\n")
    fill(traffic, digits, 40)
    rebuild_by("import sys; print('disk is full'); sys.exit(7)")
    turn = loop.once("digits", traffic=traffic)
    assert turn.failed
    assert turn.entry.why.startswith("exit code 7: ")
    assert turn.entry.why.endswith("disk is full")
    assert champion() == 1
    assert "1 retrainings in a row have failed" in loop.once("digits", traffic=traffic).entry.why


def test_half_a_dvc_lock_is_put_back_before_dvc_reads_it(
    project_of_digits: Path, traffic: Memory, digits: Any, rebuild_by: Callable[..., None]
) -> None:
    """`kill -9` of the rebuild before left it; without this every rebuild would fail, and the loop back off."""
    lock = project_of_digits / "dvc.lock"
    lock.write_text("schema: '2.0'\nstages: {}\n")
    keep(project_of_digits)
    lock.write_text("schema: '2.0'\nstages:\n  train@digits:\n    cmd")
    fill(traffic, digits, 40)
    rebuild_by("import yaml; assert yaml.safe_load(open('dvc.lock')) == {'schema': '2.0', 'stages': {}}; " + REGISTER)
    assert not loop.once("digits", traffic=traffic).failed


def test_an_alert_is_sent_when_drift_begins_and_not_at_every_turn(
    project_of_digits: Path, traffic: Memory, digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setenv("FLYWHEEL_WEBHOOK_URL", "http://here/")
    monkeypatch.setattr("flywheel.monitor.webhook.send", lambda url, message, **_: sent.append(message["text"]))
    (project_of_digits / "conf/loop.yaml").write_text("min_feedback: 999\nmin_feedback_drifted: 999\n")
    fill(traffic, digits, 50)
    loop.once("digits", traffic=traffic)
    assert sent == []
    fill(traffic, digits, 100)
    for row in traffic.rows:
        row.input["image"] = (255 - np.array(row.input["image"])).tolist()
    for _ in range(3):
        assert "inputs have drifted" in loop.once("digits", traffic=traffic).entry.why
    assert len(sent) == 1


def test_one_at_a_time(project_of_digits: Path, traffic: Memory) -> None:
    with loop._alone("digits"), pytest.raises(FlywheelError, match="another loop is working"):
        loop.once("digits", traffic=traffic)


KILLED = """
import sys
from flywheel import loop
from flywheel.monitor import rebuild
from tests.test_loop import Memory, fill
class Digits:
    from pathlib import Path
    folder, processed = Path(sys.argv[1]), Path("data/processed/digits")
rebuild.commands = lambda root, task: [[sys.executable, "-c", "import time  # flywheel\\ntime.sleep(300)"]]
traffic = Memory()
fill(traffic, Digits, 40)
loop.once("digits", traffic=traffic)
"""


def test_a_killed_loop_is_gone_on_with(
    project_of_digits: Path, traffic: Memory, digits: Any, rebuild_by: Callable[..., None], root: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    process = forked.Popen([sys.executable, "-c", KILLED, str(digits.folder)], env=environment)
    end = time.monotonic() + 120
    while not any(state == "running" for _, state, _ in states()):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    child = loop.journal_of("digits").read()[-1].pid
    assert child is not None
    fill(traffic, digits, 40)
    turn = loop.once("digits", traffic=traffic)
    assert turn.entry.why == f"a retraining that a killed loop began still runs (pid {child})"
    os.killpg(child, signal.SIGKILL)
    while Path(f"/proc/{child}/cmdline").is_file() and Path(f"/proc/{child}/cmdline").read_bytes():
        assert time.monotonic() < end
        time.sleep(0.05)
    rebuild_by(model="close")
    turn = loop.once("digits", traffic=traffic)
    assert turn.entry.outcome == "promoted"
    assert ("retrain", "ended", "interrupted") in states()
    assert champion() == 2


def test_the_command_line_says_what_was_done(
    project_of_digits: Path, run_flywheel: Callable[..., Any], root: Path
) -> None:
    done = run_flywheel("command.cli", "loop", "digits", "--log")
    assert done.returncode == 2
    assert "the loop has done nothing yet" in done.stderr
    done = run_flywheel("command.cli", "loop", "digits", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("would wait: nothing has drifted")
    assert run_flywheel("command.cli", "loop", "digits", "--once").returncode == 0
    done = run_flywheel("command.cli", "loop", "digits", "--log")
    assert "wait" in done.stdout
    assert run_flywheel("command.cli", "loop", "digits", "--once", "--watch").returncode == 2
    assert run_flywheel("command.cli", "loop", "nothing").returncode == 2
    done = run_flywheel("command.cli", "monitor", "digits")
    assert done.returncode == 0, done.stderr
    assert "are too few" in done.stdout
    file = project_of_digits / "flywheel.prom"
    run_flywheel("command.cli", "monitor", "digits", "--prometheus", str(file), "--since", "1h")
    assert 'flywheel_monitor_alarm{task="digits"} 0.0' in file.read_text()
    assert run_flywheel("command.cli", "monitor", "digits", "--webhook", "file:///x").returncode == 2


def test_rows_are_pictures(digits: Any, traffic: Memory) -> None:
    """The helper above gives rows as a server would store them."""
    fill(traffic, digits, 3)
    assert np.array(traffic.rows[0].input["image"]).shape == (8, 8)

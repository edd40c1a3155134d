"""Jobs take trials from a folder: each once, one's own first after a requeue, and none where the sweep is no more."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from flywheel.sweep.run import submitit_worker
from flywheel.sweep.run.submitit_worker import ALIVE, STOP, Worker, owner
from flywheel.sweep.search import folder as places


class Job:
    """Stands for the Hydra job: notes what it is given, and leaves a result."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.given = folder, list[int]()

    def settle(self) -> None:
        pass

    def run(self, overrides: list[str]) -> None:
        number = int(overrides[-1].rpartition("=")[2])
        self.given.append(number)
        places.write_result(self.folder, number, {"score": 0.5})


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three trials that wait, and nothing more to come."""
    folder = tmp_path / ".submitit/session"
    folder.mkdir(parents=True)
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        (folder / f"00001-{number:05d}.json").write_text(json.dumps(["a=1", f"hydra.sweep.subdir={number}"]))
    (folder / ALIVE).touch()
    (folder / STOP).touch()
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "7")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "9")
    return folder


def worker(session: Path, max_attempts: int = 3) -> Any:
    return Worker(Job(session.parent.parent), str(session), 1, max_attempts)  # type: ignore[arg-type]  # a stand-in


def test_each_trial_is_taken_once(session: Path) -> None:
    first, second = worker(session), worker(session)
    taken = [first._take("1"), second._take("2")]
    assert [one.name for one in taken if one] == ["00001-00000.json", "00001-00001.json"]
    assert [owner(one) for one in taken if one] == ["1", "2"]
    third = worker(session)
    third()
    assert third.job.given == [2], "the others are taken"
    assert len(list(session.glob("*.done"))) == 1
    assert not list(session.glob("*.part"))


def test_a_job_that_was_queued_again_goes_on_with_its_own(session: Path) -> None:
    (session / "00001-00002.claim").write_text("7")
    again = worker(session)
    again()
    assert again.job.given == [2, 0, 1]


def test_what_has_ended_or_only_dies_is_not_run(session: Path) -> None:
    folder = session.parent.parent
    places.write_result(folder, 0, {"score": math.nan, "error": "no"})
    places.note_trial(folder, 1, {}, {})
    for _ in range(2):
        places.count_start(folder / "1")
    one = worker(session, max_attempts=2)
    one()
    assert one.job.given == [2]
    assert len(list(session.glob("*.done"))) == 3, "the sweep hears of the others from their folders"


def test_a_job_ends_when_its_sweep_is_no_more(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (session / STOP).unlink()
    monkeypatch.setattr(submitit_worker, "_SILENCE_SECONDS", 0.1)
    one = worker(session)
    one()
    assert one.job.given == [0, 1, 2]

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.monitor.journal import Entry, Journal
from flywheel.project.errors import DataError

FIRST = Entry("2026-11-25T12:00:00+00:00", "retrain", "started", "drift", figures={"num_new": 60}, ran=["dvc repro"])
SECOND = Entry("2026-11-25T12:05:00+00:00", "retrain", "ended", "Promoted", "promoted", 1, 2)


def test_what_is_read_is_what_was_added(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "loop/digits.jsonl")
    assert journal.read() == []
    journal.add(FIRST)
    journal.add(SECOND)
    assert Journal(journal.file).read() == [FIRST, SECOND]


def test_a_line_torn_by_a_kill_is_left_out_and_harms_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path / "digits.jsonl")
    journal.add(FIRST)
    whole = journal.file.read_bytes()
    for length in range(1, len(whole) - 1, 7):
        journal.file.write_bytes(whole + whole[:length])
        journal.add(SECOND)
        assert journal.read() == [FIRST, SECOND]
    assert "is incomplete and is left out" in caplog.text


@pytest.mark.parametrize(
    "line", ["[]", "{}", '{"time": "x", "action": "wait", "state": "decided", "why": ""}',
             '{"time": "2026-11-25T12:00:00", "action": "wait", "state": "decided", "why": ""}',
             '{"time": "2026-11-25T12:00:00Z", "action": "wait", "state": "decided", "why": "", "other": 1}'],
)  # fmt: skip
def test_a_line_that_is_no_entry_is_one_line(tmp_path: Path, line: str) -> None:
    journal = Journal(tmp_path / "digits.jsonl")
    journal.add(FIRST)
    with journal.file.open("a") as stream:
        stream.write(f"{line}\n")
    with pytest.raises(DataError, match="row 2: is not an entry of the loop"):
        journal.read()

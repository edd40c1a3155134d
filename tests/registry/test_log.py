from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flywheel.project.errors import RegistryError
from flywheel.registry import log as registry_log
from flywheel.registry.log import Event, champions, was_rolled_back


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def event(action: registry_log.Action, before: int | None, after: int) -> Event:
    return registry_log.event(action, before=before, after=after, model_sha256=f"{after:064}", why="because")


def test_events_are_lines_of_json_in_the_order_in_which_they_happened(home: Path) -> None:
    written = [event("promoted", None, 1), event("refused", 1, 2), event("rolled back", 3, 1)]
    for entry in written:
        registry_log.append("digits", entry)
    assert registry_log.read("digits") == written
    lines = (home / ".flywheel/registry/digits.jsonl").read_text().splitlines()
    assert json.loads(lines[0]).keys() == {"time", "actor", "action", "from", "to", "model_sha256", "why"}
    assert "@" in json.loads(lines[0])["actor"]
    assert registry_log.read("other") == []


def test_many_writers_lose_no_line() -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: registry_log.append("digits", event("refused", 1, n)), range(100)))
    assert sorted(entry.after for entry in registry_log.read("digits")) == list(range(100))


def test_what_only_tags_know_is_part_of_the_history() -> None:
    here, elsewhere = event("promoted", None, 1), event("promoted", 1, 2)
    registry_log.append("digits", here)
    assert registry_log.read("digits", [here.to_line(), elsewhere.to_line()]) == [here, elsewhere]


def test_a_damaged_line_is_named(home: Path) -> None:
    registry_log.append("digits", event("promoted", None, 1))
    file = home / ".flywheel/registry/digits.jsonl"
    for line in ("{half", '{"time": "x"}', "[1]", "3"):
        file.write_text(f"{event('promoted', None, 1).to_line()}\n{line}\n")
        with pytest.raises(RegistryError, match="line 2"):
            registry_log.read("digits")


@pytest.mark.parametrize(("moves", "stack"), [
    ([], []),
    ([("promoted", None, 1)], [1]),
    ([("promoted", 4, 5)], [4, 5]),
    ([("promoted", None, 1), ("refused", 1, 2), ("promoted", 1, 3)], [1, 3]),
    ([("promoted", None, 1), ("promoted", 1, 2), ("rolled back", 2, 1)], [1]),
    ([("promoted", None, 1), ("promoted", 1, 2), ("promoted", 2, 1), ("rolled back", 1, 2)], [1, 2]),
    ([("promoted", None, 1), ("promoted", None, 1)], [1]),
    ([("rolled back", 7, 6)], [6]),
])  # fmt: skip
def test_champions_are_a_stack(moves: list[tuple[registry_log.Action, int | None, int]], stack: list[int]) -> None:
    assert champions([event(*move) for move in moves]) == stack


def test_a_rollback_is_remembered_until_somebody_promotes_again() -> None:
    moves = [event("promoted", None, 1), event("promoted", 1, 2)]
    assert not was_rolled_back(moves, 2)
    moves.append(event("rolled back", 2, 1))
    assert was_rolled_back(moves, 2)
    assert not was_rolled_back(moves, 1)
    moves.append(event("refused", 1, 2))
    assert was_rolled_back(moves, 2)
    moves.append(event("promoted", 1, 2))
    assert not was_rolled_back(moves, 2)

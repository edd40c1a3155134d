from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.project.errors import RegistryError
from flywheel.project.tracking import prepare
from flywheel.registry import aliases, versions
from flywheel.registry import log as registry_log


@pytest.fixture
def two(registered: Callable[..., Any]) -> None:
    """Version 1 is champion, version 2 was refused."""
    assert registered("good")["promoted"]
    assert not registered("bad")["promoted"]


def champion() -> int:
    found = versions.by_alias(prepare(), "digits", "champion")
    assert found is not None
    return found.number


@pytest.mark.usefixtures("two")
def test_promotion_and_rollback_by_hand_are_logged_and_mirrored_as_tags(project: Path) -> None:
    assert aliases.promote_by_hand("digits", "candidate", "a trial").after == 2
    assert champion() == 2
    back = aliases.rollback("digits", "worse in service")
    assert (back.before, back.after) == (2, 1)
    assert champion() == 1
    events = registry_log.read("digits")
    assert [(e.action, e.before, e.after) for e in events] == [
        ("promoted", None, 1), ("refused", 1, 2), ("promoted", 1, 2), ("rolled back", 2, 1),
    ]  # fmt: skip
    assert events[2].why == "a trial"
    (project / ".flywheel/registry/digits.jsonl").unlink()  # as on another machine
    assert aliases.history(prepare(), "digits") == events


@pytest.mark.usefixtures("two")
def test_there_is_nothing_before_the_first_champion() -> None:
    with pytest.raises(RegistryError, match="no champion before version 1"):
        aliases.rollback("digits")
    assert champion() == 1


@pytest.mark.usefixtures("two")
def test_each_rollback_goes_one_further_back() -> None:
    for reference in ("2", "1", "2"):
        aliases.promote_by_hand("digits", reference)
    assert [aliases.rollback("digits").after for _ in range(3)] == [1, 2, 1]
    with pytest.raises(RegistryError, match="no champion before"):
        aliases.rollback("digits")


@pytest.mark.usefixtures("two")
def test_an_alias_moved_in_mlflows_pages_can_be_rolled_back_and_a_deleted_version_is_passed_over() -> None:
    client = prepare()
    client.set_registered_model_alias("digits", "champion", "2")
    assert aliases.rollback("digits").after == 1
    aliases.promote_by_hand("digits", "2")
    client.delete_model_version("digits", "1")
    with pytest.raises(RegistryError, match="no champion before version 2"):
        aliases.rollback("digits")


@pytest.mark.usefixtures("two")
def test_promoting_the_champion_or_what_is_not_there_is_refused() -> None:
    with pytest.raises(RegistryError, match="digits/1: is the champion already"):
        aliases.promote_by_hand("digits", "1")
    with pytest.raises(RegistryError, match="no version 5"):
        aliases.promote_by_hand("digits", "5")
    assert len(registry_log.read("digits")) == 2


def test_without_a_champion_there_is_no_rollback(project: Path) -> None:
    with pytest.raises(RegistryError, match="no champion"):
        aliases.rollback("digits")


def test_one_process_at_a_time_holds_a_task(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliases, "WAIT_SECONDS", 0.2)
    refused = []

    def other() -> None:
        with pytest.raises(RegistryError, match=r"digits\.lock: another process"), aliases.locked("digits"):
            pass
        refused.append(True)
        with aliases.locked("fashion"):
            refused.append(True)

    with aliases.locked("digits"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert refused == [True, True]
    with aliases.locked("digits"):
        pass

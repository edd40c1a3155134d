"""The content-addressed store."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from flywheel.source.store import FORGOTTEN_AFTER_DAYS, Store, locked

CONTENT = b"toys" * 1000
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path: Path, project: Path) -> Store:
    (tmp_path / "new").write_bytes(CONTENT)
    store = Store()
    store.put(tmp_path / "new", SUM)
    return store


def test_it_lies_in_the_main_checkout_under_the_sum(store: Store, project: Path) -> None:
    assert (project / ".flywheel" / "store" / SUM[:2] / SUM).read_bytes() == CONTENT


def test_a_copy_can_be_edited_without_harm_to_the_store(store: Store, tmp_path: Path) -> None:
    assert store.copy_out(SUM, tmp_path / "raw" / "a")
    (tmp_path / "raw" / "a").write_bytes(b"edited")
    assert store.copy_out(SUM, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == CONTENT


def test_what_rotted_is_noticed_and_removed(store: Store, tmp_path: Path) -> None:
    store.path(SUM).chmod(0o644)
    store.path(SUM).write_bytes(CONTENT[:-1] + b"x")
    assert not store.copy_out(SUM, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert not store.path(SUM).exists()


def test_what_is_not_there_is_said(store: Store, tmp_path: Path) -> None:
    assert not store.copy_out("0" * 64, tmp_path / "a")


def test_only_one_at_a_time_works_on_a_data_set(store: Store) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with store.work_on("key", "toys"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.02)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_scratch_left_by_a_killed_process_is_cleared(store: Store) -> None:
    with store.work_on("key", "toys") as scratch:
        pass
    scratch.mkdir(parents=True)
    (scratch / "left").touch()
    with store.work_on("key", "toys") as scratch:
        assert list(scratch.iterdir()) == []
    assert not scratch.exists()


def test_broken_downloads_are_forgotten_after_a_while(store: Store) -> None:
    store.partial.mkdir()
    old = FORGOTTEN_AFTER_DAYS + 1
    for name, days in {"old.part": old, "new.part": 1, "old.lock": old}.items():
        (store.partial / name).touch()
        then = time.time() - days * 86400
        os.utime(store.partial / name, (then, then))
    with store.work_on("key", "toys"):
        assert sorted(file.name for file in store.partial.iterdir()) == ["new.part", "old.lock"]


def test_who_waits_is_told_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "flywheel")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(tmp_path / "lock", "unused"):
            held.set()
            while "waiting for it" not in caplog.text:
                time.sleep(0.005)
        done.set()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with locked(tmp_path / "lock", "waiting for it"):
        assert done.wait(5)
    thread.join()


def test_a_listing_is_kept_and_a_broken_one_is_none(store: Store) -> None:
    assert store.listing("key") is None
    store.list_as("key", {"a": SUM})
    assert store.listing("key") == {"a": SUM}
    (store.folder / "listing" / "key.json").write_text("{")
    assert store.listing("key") is None

"""Who is champion: promotions and rollbacks, one at a time, each in the log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flywheel.project.errors import RegistryError
from flywheel.project.params import state_dir
from flywheel.registry import log as registry_log
from flywheel.registry import versions
from flywheel.registry.log import Action, Event
from flywheel.registry.versions import CANDIDATE, CHAMPION, Version

if TYPE_CHECKING:
    from mlflow import MlflowClient

WAIT_SECONDS = 600


@contextlib.contextmanager
def locked(task: str) -> Iterator[None]:
    """Hold a task's registry for this process; others wait.

    Raises:
        RegistryError: Another process held it for ten minutes.
    """
    from filelock import FileLock, Timeout

    file = state_dir() / "registry" / f"{task}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, timeout=WAIT_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        what = f"another process has held it for {WAIT_SECONDS // 60} minutes"
        raise RegistryError(what, where=file, fix="wait for it, or end it") from None
    try:
        yield
    finally:
        lock.release()


def set_candidate(client: MlflowClient, version: Version) -> None:
    """Let `candidate` name this version."""
    if CANDIDATE not in version.aliases:
        client.set_registered_model_alias(version.task, CANDIDATE, str(version.number))


def promote(client: MlflowClient, version: Version, why: str) -> Event:
    """Make a version the champion; the caller holds `locked`. Logged first: an alias never moves unrecorded."""
    before = versions.by_alias(client, version.task, CHAMPION)
    return _move(client, "promoted", before, version, why)


def refuse(client: MlflowClient, version: Version, champion: Version | None, why: str) -> Event:
    """Record that a version did not become champion."""
    entry = registry_log.event(
        "refused", before=champion.number if champion else None, after=version.number,
        model_sha256=version.model_sha256, why=why,
    )  # fmt: skip
    _record(client, version, entry)
    return entry


def promote_by_hand(task: str, reference: str, why: str = "by hand") -> Event:
    """Make a version the champion whatever the gate says: `flywheel registry promote TASK VERSION`.

    Args:
        task: The registered model.
        reference: A version's number, or an alias.
        why: Reason, for the log.

    Raises:
        RegistryError: There is no such version, or it is the champion already.
    """
    from flywheel.project.tracking import prepare

    client = prepare()
    version = versions.resolve(client, task, reference)
    with locked(task):
        champion = versions.by_alias(client, task, CHAMPION)
        if champion and champion.number == version.number:
            raise RegistryError("is the champion already", where=str(version))
        return _move(client, "promoted", champion, version, why, by_hand=True)


def rollback(task: str, why: str = "by hand") -> Event:
    """Bring the champion before the present one back: `flywheel registry rollback TASK`.

    Raises:
        RegistryError: There is no champion, or the log knows none before it.
    """
    from flywheel.project.tracking import prepare

    client = prepare()
    with locked(task):
        champion = versions.by_alias(client, task, CHAMPION)
        if champion is None:
            raise RegistryError("no champion", where=task, fix=f"run `flywheel registry promote {task} VERSION`")
        for number in _earlier(history(client, task), champion.number):
            version = versions.by_number(client, task, number)
            if version is not None:
                return _move(client, "rolled back", champion, version, why)
        what = f"no champion before version {champion.number} is known"
        raise RegistryError(what, where=task, fix=f"run `flywheel registry promote {task} VERSION`")


def history(client: MlflowClient, task: str) -> list[Event]:
    """All events of a task, from the log and from the tags of its versions."""
    mirrored = [line for version in versions.versions_of(client, task) for line in version.events]
    return registry_log.read(task, mirrored)


def _earlier(events: list[Event], champion: int) -> list[int]:
    """Champions before the present one, the latest first. One set by hand in MLflow's pages is not in the log."""
    stack = registry_log.champions(events)
    if champion in stack:
        last = len(stack) - 1 - stack[::-1].index(champion)
        stack = stack[:last]
    return [number for number in reversed(stack) if number != champion]


def _move(
    client: MlflowClient, action: Action, before: Version | None, after: Version, why: str, *, by_hand: bool = False
) -> Event:
    entry = registry_log.event(
        action, before=before.number if before else None, after=after.number, model_sha256=after.model_sha256, why=why,
        by_hand=by_hand,
    )  # fmt: skip
    _record(client, after, entry)
    client.set_registered_model_alias(after.task, CHAMPION, str(after.number))
    return entry


def _record(client: MlflowClient, version: Version, entry: Event) -> None:
    registry_log.append(version.task, entry)
    tag = registry_log.TAG + entry.time.replace(":", "").replace("+0000", "").replace("+", "")
    client.set_model_version_tag(version.task, str(version.number), tag, entry.to_line())

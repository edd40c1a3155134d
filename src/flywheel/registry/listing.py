"""The registered models as a table for a terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flywheel.project.errors import RegistryError, nearest
from flywheel.project.types import Json
from flywheel.registry.versions import (
    CHAMPION,
    Version,
    decision_of,
    how_to_register,
    num_judged,
    registered_here,
    versions_of,
)  # fmt: skip

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("version", "aliases", "metric", "variant", "size", "weights", "commit", "registered (UTC)")


def list_versions(task: str | None = None) -> list[Version]:
    """A task's versions, the newest first; None: those of all tasks.

    Raises:
        RegistryError: The task has none.
    """
    from flywheel.project.tracking import prepare

    client = prepare()
    found = versions_of(client, task)
    if not found and task is not None:
        names = sorted({version.task for version in versions_of(client)})
        fix = how_to_register(task) if task in registered_here() or not names else nearest(task, names)
        raise RegistryError("no registered model", where=task, fix=fix)
    return found


def table(versions: list[Version]) -> Table:
    """A line a version: who is champion, how good, how large, from which weights and commit."""
    from rich.table import Table

    made = Table(*COLUMNS)
    for version in versions:
        made.add_row(*row(version), style="bold" if "champion" in version.aliases else None)
    return made


def facts(version: Version) -> Json:
    """The same for programs, with the gate's whole decision."""
    tags = version.tags
    return {
        "version": str(version),
        "task": version.task,
        "number": version.number,
        "aliases": list(version.aliases),
        "variant": version.variant,
        "num_bytes": int(tags.get("num_bytes", 0)),
        "model_sha256": version.model_sha256,
        "run_id": version.run_id,
        "git_commit": tags.get("git_commit"),
        "git_dirty": tags.get("git_dirty") == "true",
        "registered": datetime.fromtimestamp(version.created_ms / 1000, UTC).isoformat(timespec="seconds"),
        "decision": decision_of(version) or {},
    }


def row(version: Version) -> list[str]:
    """The texts of one line."""
    decision = decision_of(version) or {}
    value = decision.get("candidate_value")
    commit = version.tags.get("git_commit", "")[:8] + ("+" if version.tags.get("git_dirty") == "true" else "")
    num_bytes = int(version.tags.get("num_bytes", 0))
    return [
        str(version),
        ", ".join(version.aliases),
        "" if value is None else f"{decision['metric']} {value:.4f}",
        version.variant,
        f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.0f} kB",
        version.model_sha256[:8],
        commit,
        datetime.fromtimestamp(version.created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
    ]


def remarks(versions: list[Version]) -> list[str]:
    """What a reader of the table must know: champions worse than a baseline, and how often test sets were used."""
    said = []
    for version in versions:
        decision = decision_of(version) or {}
        if CHAMPION not in version.aliases:
            continue
        if rival := decision.get("worse_than"):
            said.append(f"{version} is champion although its own report calls it worse than {rival.replace('_', ' ')}.")
        test = decision.get("test_sha256")
        own = [one for one in versions if one.task == version.task]
        if test and (used := num_judged(own, test, version.model_sha256)) > 1:
            said.append(f"The test set that judged {version} has judged {used} models of {version.task}.")
    return said

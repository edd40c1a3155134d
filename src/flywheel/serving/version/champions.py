"""Finds the versions to serve: asks the registry at the start, and then for what has changed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.project.errors import FlywheelError, RegistryError, nearest
from flywheel.project.tracking import store_errors
from flywheel.registry import versions
from flywheel.registry.package import open_package
from flywheel.registry.versions import CHAMPION, decision_of
from flywheel.serving.version.served import ChampionVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("flywheel")

MAX_TASKS = 1000


class Champions:
    """The champions of some tasks.

    Args:
        client: The client of the registry.
        tasks: Tasks to serve; none: all that have a champion, including later ones.
    """

    def __init__(self, client: MlflowClient, tasks: Sequence[str] = ()) -> None:
        self._client, self._tasks = client, tuple(dict.fromkeys(tasks))
        self._known: dict[str, ChampionVersion] = {}
        self._said = ""

    def first(self) -> list[ChampionVersion]:
        """The champions now, each opened once: what cannot be served is better known before anything listens.

        Raises:
            RegistryError: A task has none, no task has one, or a champion's files are missing or have other bytes.
            ModelError: A model cannot be run.
        """
        known = self._all_numbers()
        numbers = self._numbers(known)
        for task in self._tasks:
            if task not in known:
                here = task in versions.registered_here()
                fix = versions.how_to_register(task) if here or not known else nearest(task, known)
                raise RegistryError("has no champion", where=task, fix=fix)
        if not numbers:
            raise RegistryError(
                "no task has a champion", where="registry", fix=versions.how_to_register(*versions.registered_here())
            )
        for task, number in numbers.items():
            self._known[task] = self._champion(task, number)
            open_package(Path(self._known[task].folder), self._known[task].sums, threads=1)
        return list(self._known.values())

    def changed(self) -> list[ChampionVersion] | None:
        """All champions, if one of them has changed since this was last asked; None: none has.

        A registry that cannot be asked, or files that cannot be had, change nothing: they are logged, once.
        """
        errors: tuple[type[Exception], ...] = (FlywheelError, *store_errors())
        try:
            numbers = self._numbers(self._all_numbers())
            fresh = {
                task: self._champion(task, number)
                for task, number in numbers.items()
                if task not in self._known or self._known[task].number != number
            }
        except errors as error:
            self._say(f"the registry cannot be read: {str(error).splitlines()[0][:300]}")
            return None
        self._said = ""
        self._known |= fresh
        return list(self._known.values()) if fresh else None

    def _all_numbers(self) -> dict[str, int]:
        """The version of each task's champion, in one question to the store."""
        found = self._client.search_registered_models(max_results=MAX_TASKS)
        return {model.name: int(model.aliases[CHAMPION]) for model in found if CHAMPION in model.aliases}

    def _numbers(self, known: dict[str, int]) -> dict[str, int]:
        """Version numbers of the tasks to serve."""
        return {task: known[task] for task in self._tasks or sorted(known) if task in known}

    def _champion(self, task: str, number: int) -> ChampionVersion:
        version = self._version(task, number)
        folder, decision = str(versions.folder_of(self._client, version)), decision_of(version) or {}
        return ChampionVersion(task, number, version.model_sha256, folder, version.sums, decision.get("worse_than"))

    def _version(self, task: str, number: int) -> versions.Version:
        found = versions.by_number(self._client, task, number)
        if found is None:
            raise RegistryError(f"no version {number}", where=task, fix="run `flywheel registry list`")
        return found

    def _say(self, line: str) -> None:
        if line != self._said:
            log.warning("%s", line)
        self._said = line

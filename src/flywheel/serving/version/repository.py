"""What one worker serves: a version a task, each replaced by its successor in one step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor

from flywheel.project.errors import FlywheelError, nearest
from flywheel.serving.http.metrics import Metrics
from flywheel.serving.problem import RequestError
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.served import ChampionVersion, Served, open_served

log = logging.getLogger("flywheel")


class ModelRepository:
    """The versions in service.

    Args:
        settings: The settings of the server.
        executor: Threads that batches run in.
        metrics: The metrics of the worker.
    """

    def __init__(self, settings: ServingSettings, executor: Executor, metrics: Metrics) -> None:
        self._settings, self._executor, self._metrics = settings, executor, metrics
        self._served: dict[str, Served] = {}

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, sorted."""
        return sorted(self._served)

    def get(self, task: str) -> Served:
        """The version in service of a task.

        Raises:
            RequestError: There is no such task (404).
        """
        served = self._served.get(task)
        if served is None:
            what = f"no task '{task[:80]}' is served"
            raise RequestError(404, what, where="path", fix=nearest(task[:80], self._served))
        return served

    def put(self, champion: ChampionVersion) -> None:
        """Open a version and put it in service, in place of the task's last one, which ends what it has begun.

        Raises:
            FlywheelError: It cannot be opened; the last one stays.
        """
        served = open_served(champion, self._settings, self._executor, self._observer(champion))
        self._served[champion.task] = served
        self._metrics.version.labels(champion.task).set(champion.number)

    async def follow(self, champions: Iterable[ChampionVersion]) -> None:
        """Put new champions in service, one after the other; one that cannot be opened is logged, and left."""
        for champion in champions:
            known = self._served.get(champion.task)
            if known is not None and known.champion == champion:
                continue
            try:
                # A thread of its own: batches go on meanwhile.
                await asyncio.to_thread(self.put, champion)
            except (FlywheelError, OSError, ValueError) as error:
                self._metrics.swaps.labels(champion.task, "refused").inc()
                log.error("%s stays out of service: %s", champion, error)
            else:
                self._metrics.swaps.labels(champion.task, "done").inc()
                log.info("%s is in service, after %s", champion, known.champion if known else "none")

    def count_queues(self) -> None:
        """Tell the metrics how many rows wait."""
        for task, served in self._served.items():
            self._metrics.queue.labels(task).set(served.batcher.num_waiting)

    def _observer(self, champion: ChampionVersion) -> Callable[[int, int, float], None]:
        rows = self._metrics.batch_rows.labels(champion.task, str(champion.number))
        waiting = self._metrics.waiting.labels(champion.task, str(champion.number))

        def observe(num_rows: int, num_requests: int, seconds: float) -> None:
            rows.observe(num_rows)
            waiting.observe(seconds)

        return observe

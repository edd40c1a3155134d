"""LiveCache at how versions do, for the page `/live`: one at a time, made elsewhere, and kept for a while."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable

from flywheel.project.types import Json
from flywheel.serving.version.served import ChampionVersion

Look = Callable[[ChampionVersion], Json]
"""Describes a version in service: the fields of `messages.Live` from `days` on. Runs in any thread, maybe for long."""

KEPT_SECONDS = 20.0
"""How long a result is served: making one reads a thousand rows, and the page asks every half minute."""
KEPT_TIMES = 9
"""A result is served for this multiple of its computing time: a large store is read a tenth of the time at most."""


class LiveCache:
    """Keeps the latest judgement of each version, for one worker.

    All callers wait for one thread: a slow query of a large store must not occupy all threads of the server.

    Args:
        look: Function that judges a version in service.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._turn = asyncio.Lock()
        self._seen: dict[str, tuple[ChampionVersion, float, float, Json]] = {}

    async def of(self, champion: ChampionVersion) -> Json:
        """Give the latest result for a version, or a new one.

        Raises:
            FlywheelError: The version cannot be judged.
        """
        async with self._turn:
            known, ended, took, found = self._seen.get(champion.task, (None, -math.inf, 0.0, {}))
            started = time.monotonic()
            if known != champion or started - ended > max(KEPT_SECONDS, KEPT_TIMES * took):
                found = await _aside(self._look, champion)
                ended = time.monotonic()
                self._seen[champion.task] = (champion, ended, ended - started, found)
        return found


async def _aside(look: Look, champion: ChampionVersion) -> Json:
    """Run `look` in a thread that a stopping worker does not wait for."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Json] = loop.create_future()

    def settle(found: Json | None, error: Exception | None) -> None:
        if outcome.done():  # the caller has gone
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(found or {})

    def work() -> None:
        found, error = None, None
        try:
            found = look(champion)
        except Exception as raised:  # noqa: BLE001 - any error is raised for the caller
            error = raised
        try:
            loop.call_soon_threadsafe(settle, found, error)
        except RuntimeError:  # the loop has ended meanwhile
            return

    threading.Thread(target=work, name="look", daemon=True).start()
    return await outcome

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
"""Says how a version does: the fields of `messages.Live` from `days` on. Called in any thread, it may take long."""

KEPT_SECONDS = 20.0
"""How long a look serves all who ask: it reads a thousand rows, and the page asks every half minute."""
KEPT_TIMES = 9
"""How many times as long as it took it serves at least: looks at a large store take a tenth of the time."""


class LiveCache:
    """LiveCache of one worker.

    All who ask wait here for one thread: those that the server has must not all wait for a look at a large store.

    Args:
        look: LiveCache.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._turn = asyncio.Lock()
        self._seen: dict[str, tuple[ChampionVersion, float, float, Json]] = {}

    async def of(self, champion: ChampionVersion) -> Json:
        """Give the latest look at a version, or a new one.

        Raises:
            FlywheelError: It cannot be seen how it does.
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
    """Look in a thread that a worker which stops does not wait for."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Json] = loop.create_future()

    def settle(found: Json | None, error: Exception | None) -> None:
        if outcome.done():  # whoever asked has gone
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(found or {})

    def work() -> None:
        found, error = None, None
        try:
            found = look(champion)
        except Exception as raised:  # noqa: BLE001 - whatever it is, it belongs to who asked
            error = raised
        try:
            loop.call_soon_threadsafe(settle, found, error)
        except RuntimeError:  # the loop has ended meanwhile
            return

    threading.Thread(target=work, name="look", daemon=True).start()
    return await outcome

"""Notices that a client has hung up while it is being answered, and ends the work for it."""

from __future__ import annotations

import asyncio

from flywheel.serving.http.body import Receive


class Departure:
    """Cancels the task that has made it when the client goes, until `end` is called.

    Args:
        receive: ASGI's `receive`, when the request has been read: it gives nothing but the end of the connection.

    Attributes:
        has_happened: Whether the client went, and the task has been cancelled for it.
    """

    def __init__(self, receive: Receive) -> None:
        self.has_happened = False
        self._answering = asyncio.current_task()
        self._watching = asyncio.get_running_loop().create_task(self._watch(receive))

    def end(self) -> None:
        """Stop watching: the answer is about to be sent."""
        self._answering = None
        self._watching.cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if self._answering is not None:
            self.has_happened = True
            self._answering.cancel()

"""Says what fails again and again: a store that is down must not fill the log with a line for each request."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from flywheel.project.errors import FlywheelError

log = logging.getLogger("flywheel")

QUIET_SECONDS = 10.0


class Complaint:
    """Logs a failure at once, and then at most once in `QUIET_SECONDS`, with how often it has failed.

    What a person can fix is one line. Only a bug has a traceback: that of a database's error would hold what was to be
    written, which is people's data.

    Args:
        what: Description of what has failed.
        clock: Seconds, never going back.
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._clock = what, clock
        self._lock = threading.Lock()
        self._number = 0
        self._quiet_until = -float("inf")

    def say(self, error: Exception, number: int = 1) -> None:
        """Count a failure, and log it unless one has just been logged.

        Args:
            error: Why it failed.
            number: Number of things that failed together.
        """
        with self._lock:
            self._number += number
            now = self._clock()
            if now < self._quiet_until:
                return
            self._quiet_until = now + QUIET_SECONDS
            number, self._number = self._number, 0
        known = isinstance(error, FlywheelError)
        log.error("%s (%d): %s", self._what, number, error, exc_info=None if known else error)

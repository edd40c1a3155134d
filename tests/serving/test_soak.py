"""Thousands of requests of all kinds leave nothing behind: no descriptor, no thread, and hardly any memory."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench.soak_traffic import Held, Soak
from tests.serving.conftest import Running

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("serving")]

NUM_WARM, NUM_SENT = 1000, 2500
SPARE = 8
"""Descriptors and threads of pools that may be filled only after the warm-up; a leak would be one for many requests."""
SPARE_MEGABYTES = 150.0
"""Of both workers, should they meet their first look for `/live`, which loads scipy, after the warm-up."""


def test_thousands_of_requests_leave_nothing_behind(serve: Callable[..., Running], home: Path, digits: Any) -> None:
    shutil.copy(digits.folder / "params.yaml", home)
    running = serve("digits", "--record", "full", "--workers", "2")
    workers = running.workers()
    soak = Soak(running.url, ["digits"])
    soak.send(NUM_WARM, ("predict",))  # as many rows as a look reads at most
    soak.send(NUM_WARM)
    before = _quiet(workers)
    soak.send(NUM_SENT)
    after = _quiet(workers)
    assert not soak.failures, soak.failures[:5]
    assert running.workers() == workers
    kinds = {kind for kind, _ in soak.statuses}
    assert kinds == {"predict", "file", "malformed", "feedback", "metrics", "explain", "page", "live"}
    assert after.descriptors <= before.descriptors + SPARE
    assert after.threads <= before.threads + SPARE
    assert after.grown(before) <= SPARE_MEGABYTES
    assert len(running.log.read_text()) < 10_000  # nor does the log grow with requests


def _quiet(workers: list[int]) -> Held:
    """What is held once the connections that were closed are gone."""
    held = Held.by(workers)
    for _ in range(20):
        time.sleep(0.25)
        held, last = Held.by(workers), held
        if held.descriptors == last.descriptors:
            break
    return held

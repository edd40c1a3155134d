"""What a server holds after tens of thousands of requests of all kinds: memory, descriptors, threads.

`flywheel serve` with two workers and `--record full` answers predictions in JSON and as forms, malformed requests,
feedback, explanations, `/metrics`, the page `/live` and what it asks for, for all default tasks in turn, from four
clients that open a new connection every 100 requests. What is held is read while nobody is connected.
The first row is after a warm-up, in which allocators and pools take what they will keep. After it, the workers
together may grow by 60 MB, 8 descriptors and 8 threads (pools of bounded size that fill late), or the run fails.
Run: python -m bench soak
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.record import Table
from bench.soak_traffic import Held, Soak

TASKS = ("fashion", "tweets", "spoken_digits", "breast_cancer", "movielens")
WARM_UP, STEP, NUM_STEPS = 5_000, 5_000, 4
BOUND_MEGABYTES, SPARE = 60.0, 8
SETTLE_SECONDS = 2.0


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a server whose feedback store is in a folder; give its address."""
    environment = {**os.environ, "FLYWHEEL_FEEDBACK_URL": f"sqlite:///{folder / 'feedback.db'}"}
    command = [sys.executable, "-m", "flywheel.command.cli", "serve", *TASKS, "--port", "0", "--workers", "2"]
    log = folder / "server.log"
    with log.open("w") as stream:
        process = subprocess.Popen([*command, "--record", "full"], env=environment, stdout=stream, stderr=stream)
    try:
        end = time.monotonic() + 120
        while not (found := re.search(r"(http://\S+) serves", log.read_text())):
            assert time.monotonic() < end, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield found[1], process
        print(f"  the server's log has {log.stat().st_size} bytes")
    finally:
        process.terminate()
        process.wait(60)


def main() -> Table:
    """Send, look, and return the table."""
    table = Table("soak", f"Two workers after so many requests (both together may grow by {BOUND_MEGABYTES:.0f} MB)",
                  ["requests", "MB of each worker", "grown together, MB", "descriptors", "threads", "requests/s",
                   "load of the machine"])  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary, serving(Path(temporary)) as (url, process):
        workers = sorted(child.pid for child in psutil.Process(process.pid).children())
        soak, first = Soak(url, list(TASKS)), None
        for step in range(NUM_STEPS + 1):
            began, number = time.perf_counter(), STEP if step else WARM_UP
            soak.send(number)
            per_second = number / (time.perf_counter() - began)
            time.sleep(SETTLE_SECONDS)
            held = Held.by(workers)
            first = first or held
            megabytes = " / ".join(f"{one:.0f}" for one in held.megabytes)
            table.add([f"{WARM_UP + step * STEP:,}", megabytes, f"{held.grown(first):.1f}", held.descriptors,
                       held.threads, f"{per_second:.0f}", f"{os.getloadavg()[0]:.1f}"])  # fmt: skip
        table.save()  # also where it is not what it should be
        print(f"  answers: {dict(sorted(soak.statuses.items()))}")
        assert not soak.failures, soak.failures[:5]
        assert sorted(child.pid for child in psutil.Process(process.pid).children()) == workers
        assert held.descriptors <= first.descriptors + SPARE
        assert held.threads <= first.threads + SPARE
        assert held.grown(first) <= BOUND_MEGABYTES
    return table

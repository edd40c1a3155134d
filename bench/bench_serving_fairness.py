"""What small and large requests get of one worker of `flywheel serve`, while other clients hang up and while none does.

The model of `bench serving`, pictures as binary tensors. 32 clients send one row at a time and wait for the answer; one
sends 1,024 rows at a time. Beside them 32 clients send 64 rows and wait as well, or hang up after 5 ms and come again.
Run: python -m bench serving_fairness
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.bench_serving import make, requests, serving, wait_for
from bench.record import Table

SECONDS, LEAVE_SECONDS, NUM_SMALL, NUM_OTHERS = 10.0, 0.005, 32, 32
SMALL_ROWS, OTHER_ROWS, LARGE_ROWS = 1, 64, 1024
Answers = list[tuple[int, float]]


def request_of(image: np.ndarray, rows: int) -> bytes:
    """One request of so many equal pictures."""
    content = np.repeat(image[None], rows, axis=0).tobytes()
    tensor = {"name": "image", "shape": [rows, *image.shape], "datatype": "UINT8",
              "parameters": {"binary_data_size": len(content)}}  # fmt: skip
    head = json.dumps({"inputs": [tensor], "outputs": [{"name": "label"}]}).encode()
    first = (
        f"POST /v2/models/digits/infer HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(head) + len(content)}\r\n"
    )
    return f"{first}inference-header-content-length: {len(head)}\r\n\r\n".encode() + head + content


async def stay(port: int, request: bytes, until: float, answers: Answers) -> None:
    """Ask again and again on one connection; note statuses and seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (started := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        answers.append((int(head.split()[1]), time.perf_counter() - started))
        if answers[-1][0] != 200:
            await asyncio.sleep(0.01)  # as a client that was told to come again
    writer.close()


async def leave(port: int, request: bytes, until: float, answers: Answers) -> None:
    """Ask, and hang up before there is an answer."""
    while time.perf_counter() < until:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        await asyncio.sleep(LEAVE_SECONDS)
        writer.transport.abort()
        answers.append((0, LEAVE_SECONDS))


async def load(job: dict[str, object]) -> dict[str, Answers]:
    """Run a job: `port`, `leaving`, and the three `requests` (hex)."""
    port, until = int(str(job["port"])), time.perf_counter() + SECONDS
    small, other, large = (bytes.fromhex(one) for one in job["requests"])  # type: ignore[attr-defined]
    found: dict[str, Answers] = {"small": [], "other": [], "large": []}
    others = leave if job["leaving"] else stay
    await asyncio.gather(
        *(stay(port, small, until, found["small"]) for _ in range(NUM_SMALL)),
        *(others(port, other, until, found["other"]) for _ in range(NUM_OTHERS)),
        stay(port, large, until, found["large"]),
    )
    return found


def main() -> Table:
    """Measure and return the table."""
    table = Table("serving_fairness", f"Small and large requests side by side, {SECONDS:g} s", ["the other clients",
                  "requests", "answered/s", "refused (503)", "p50 ms", "p99 ms"])  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        image = make(folder)
        _, head, body = requests(image)["binary"]
        hexed = [request_of(image, rows).hex() for rows in (SMALL_ROWS, OTHER_ROWS, LARGE_ROWS)]
        with serving("flywheel", folder) as (port, _):
            wait_for(port, head, body)
            for leaving in (False, True):
                job = json.dumps({"port": port, "leaving": leaving, "requests": hexed})
                command = [sys.executable, "-m", "bench.bench_serving_fairness"]
                done = subprocess.run(command, input=job, capture_output=True, text=True, check=True, timeout=180)
                found: dict[str, Answers] = json.loads(done.stdout)
                for name, rows in (("small", SMALL_ROWS), ("large", LARGE_ROWS)):
                    table.add(["hang up" if leaving else "wait", f"of {rows:,} rows", *_figures(found[name])])
    return table


def _figures(answers: Answers) -> list[str]:
    times = sorted(seconds * 1000 for status, seconds in answers if status == 200)
    refused = sum(status == 503 for status, _ in answers) / max(1, len(answers))
    if not times:
        return ["0", f"{refused:.1%}", "none", "none"]
    p99 = times[int(len(times) * 0.99)]
    return [f"{len(times) / SECONDS:,.1f}", f"{refused:.1%}", f"{statistics.median(times):.1f}", f"{p99:.1f}"]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(json.load(sys.stdin)))))

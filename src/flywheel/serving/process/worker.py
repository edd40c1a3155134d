"""One worker: a process that answers on the socket its supervisor opened, and does what the supervisor writes to it.

The supervisor asks the registry; a worker imports neither MLflow nor PyTorch. It reads JSON, one object a line: first
all it must know, then new champions. When its standard input ends, its supervisor is gone, and it stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

import uvicorn

from flywheel.project.types import Json
from flywheel.serving.http.app import make_gateway
from flywheel.serving.http.gateway import Gateway
from flywheel.serving.http.metrics import Metrics
from flywheel.serving.http.protocol import bounded
from flywheel.serving.process.live_cache import Look
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.record import Recorder
from flywheel.serving.version.recording import RecordingQueue
from flywheel.serving.version.repository import ModelRepository
from flywheel.serving.version.served import ChampionVersion

log = logging.getLogger("flywheel")

READY = "ready"
LAME_SECONDS = 0.3
"""How long a stopping worker goes on with open connections, closing each with its next answer."""
KEEP_ALIVE_SECONDS = 75
SWITCH_SECONDS = 0.0005
OFF = "off"


@dataclass(frozen=True)
class Start:
    """What a worker must know.

    Attributes:
        settings: The settings of the server.
        socket_fd: The listening socket's number in the worker.
        tokens: sha256 of each token by its client's name.
        champions: Champions to serve.
    """

    settings: ServingSettings
    socket_fd: int
    tokens: dict[str, str]
    champions: list[ChampionVersion]

    def to_line(self) -> str:
        """As the supervisor writes it."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Start:
        """As the worker reads it."""
        held: Json = json.loads(line)
        champions = [ChampionVersion(**one) for one in held["champions"]]
        return cls(ServingSettings(**held["settings"]), held["socket_fd"], held["tokens"], champions)


def champions_line(champions: list[ChampionVersion]) -> str:
    """The line that gives a worker its new champions."""
    return json.dumps({"champions": [asdict(champion) for champion in champions]}) + "\n"


def run_worker(recorder: Callable[[], Recorder | None], look_with: Callable[[bool], Look]) -> None:
    """Serve until told to stop.

    Args:
        recorder: Makes what keeps predictions and feedback; None where nothing does. Not called if nothing is kept.
        look_with: Makes what says how a version does; told whether anything is kept.

    Raises:
        FlywheelError: A champion cannot be opened.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches all processes; the supervisor tells this one
    start = Start.from_line(sys.stdin.readline())
    settings = start.settings
    sys.setswitchinterval(SWITCH_SECONDS)  # a batch in its thread must not hold up the event loop for 5 ms
    for name in ("uvicorn.error", "python_multipart"):  # they would log a line for each bad request
        logging.getLogger(name).setLevel(logging.ERROR)
    metrics = Metrics()
    executor = ThreadPoolExecutor(max(2, len(start.champions)), thread_name_prefix="batch")
    models = ModelRepository(settings, executor, metrics)
    for champion in start.champions:
        models.put(champion)
    made = None if settings.record == OFF else recorder()
    recording = None
    if made is not None:
        recording = RecordingQueue(made, settings.record, settings.record_queue_rows, metrics.unrecorded.inc)
    closing = recording.close if recording else lambda: None
    gateway = make_gateway(
        models, settings, metrics, tokens=start.tokens, recording=recording, look=look_with(made is not None),
        closing=closing,
    )  # fmt: skip
    gc.collect()
    gc.freeze()  # models and modules are never garbage: collections need not look at them
    _Server(gateway, models, settings).run(sockets=[socket.socket(fileno=start.socket_fd)])
    executor.shutdown(cancel_futures=True)


class _Server(uvicorn.Server):
    """uvicorn's server, controlled by the supervisor."""

    def __init__(self, gateway: Gateway, models: ModelRepository, settings: ServingSettings) -> None:
        super().__init__(
            uvicorn.Config(
                gateway, http=bounded(settings), ws="none", lifespan="on", log_config=None, access_log=False,
                proxy_headers=False, server_header=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
            )
        )  # fmt: skip
        self._gateway, self._models = gateway, models
        self._following: asyncio.Lock | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, to the supervisor as well, and say so."""
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        self._following = asyncio.Lock()
        loop.add_signal_handler(signal.SIGTERM, self.drain)
        threading.Thread(target=self._listen, args=(loop,), name="supervisor", daemon=True).start()
        sys.stdout.write(READY + "\n")
        sys.stdout.flush()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals as `startup` sets them: uvicorn would raise them again, and end before the queue is kept."""
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop as if asked by the supervisor."""
        self.drain()

    def drain(self) -> None:
        """Close each connection with its next answer, and soon stop listening."""
        if not self._gateway.draining:
            self._gateway.draining = True
            asyncio.get_running_loop().call_later(LAME_SECONDS, setattr, self, "should_exit", True)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        for line in sys.stdin:
            champions = [ChampionVersion(**one) for one in json.loads(line)["champions"]]
            asyncio.run_coroutine_threadsafe(self._follow(champions), loop)
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(self.drain)

    async def _follow(self, champions: list[ChampionVersion]) -> Any:
        assert self._following is not None  # noqa: S101 - made in `startup`, before anybody listens
        async with self._following:
            await self._models.follow(champions)

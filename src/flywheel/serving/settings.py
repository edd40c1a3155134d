"""How a server listens, batches and limits: `conf/serving.yaml`, over which the command line's options go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Ge, Le

from flywheel.project.errors import ConfigError
from flywheel.project.settings import NonNegativeFloat, PositiveFloat, PositiveInt, settings_from

FILE = Path("conf/serving.yaml")


@dataclass
class ServingSettings:
    """Settings of one server.

    Attributes:
        host: Address to listen on. Any other than loopback needs tokens.
        port: Port to listen on; 0: a free one, which is printed at the start.
        workers: Processes that answer; they share one listening socket.
        threads: Threads of ONNX Runtime in one worker, for one batch.
        poll_seconds: How often a worker looks for new champions in the registry.
        max_batch_rows: Most rows that are answered together. A longer request is answered in slices, between which
            other requests have their turn.
        max_wait_ms: Longest time that a batch waits for more rows while others keep coming; a lone request never waits.
        max_queue_rows: Rows of one task that may wait in one worker, counted apart for requests of up to half a batch
            and for longer ones. Beyond that, further requests of the same size are answered with 503.
        max_request_rows: Most rows of one request.
        max_request_pixels: Most pixels of one request's pictures together, decoded.
        max_request_samples: Most samples of one request's recordings together, over all channels.
        max_request_characters: Most characters of one request's texts, and most values in its lists. An explanation
            counts each up to 64 times.
        max_request_answers: Most values in the answer to one request: items, or the columns of each row.
        max_body_bytes: Largest body of one request, also after unpacking gzip.
        max_held_bytes: Most bytes of all bodies that one worker holds; beyond that, requests are answered with 503.
            It must be at least twice `max_body_bytes`: a packed and an unpacked body.
        max_json_depth: Most lists and mappings within each other in a JSON body.
        max_header_bytes: Largest first line and headers of one request.
        max_connections: Most connections to one worker. A new one takes the place of the one that has been idle for
            longest; where none is idle, it is answered with 503.
        max_requests: Most requests that one worker holds at a time; beyond that, they are answered with 503.
        receive_seconds: Time within which a request's headers, and then its body, must have arrived.
        request_seconds: Time within which a request is answered, or given up.
        drain_seconds: How long a worker that stops goes on with requests that it has begun.
        rate_per_second: Requests a second of one client (a token, or an address without one) to one worker; 0: no
            limit.
        rate_burst: Requests that a client may make at once after a pause.
        tokens: File with a line `name token` for each client; null: the tokens of `FLYWHEEL_TOKENS`, or else no
            authentication.
        record: What is kept of predictions: `off` (nothing), `hash` (the answer and a hash of the input), or `full`
            (the input itself as well).
        record_queue_rows: Predictions that may wait to be stored; beyond that, they are counted and not stored.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Ge(0), Le(65535)] = 8080
    workers: PositiveInt = 1
    threads: PositiveInt = 1
    poll_seconds: PositiveFloat = 5.0
    max_batch_rows: PositiveInt = 64
    max_wait_ms: NonNegativeFloat = 1.0
    max_queue_rows: PositiveInt = 2048
    max_request_rows: PositiveInt = 1024
    max_request_pixels: PositiveInt = 128_000_000
    max_request_samples: PositiveInt = 64_000_000
    max_request_characters: PositiveInt = 4_000_000
    max_request_answers: PositiveInt = 200_000
    max_body_bytes: PositiveInt = 16_000_000
    max_held_bytes: PositiveInt = 256_000_000
    max_json_depth: PositiveInt = 32
    max_header_bytes: PositiveInt = 16_384
    max_connections: PositiveInt = 512
    max_requests: PositiveInt = 1024
    receive_seconds: PositiveFloat = 10.0
    request_seconds: PositiveFloat = 30.0
    drain_seconds: NonNegativeFloat = 20.0
    rate_per_second: NonNegativeFloat = 0.0
    rate_burst: PositiveInt = 100
    tokens: str | None = None
    record: Literal["off", "hash", "full"] = "hash"
    record_queue_rows: PositiveInt = 10_000

    def check(self, where: str) -> None:
        """Refuse bodies of which not even one could be held."""
        if self.max_held_bytes < 2 * self.max_body_bytes:
            what = f"{self.max_held_bytes} is less than one packed and unpacked request of max_body_bytes"
            raise ConfigError(what, where=f"{where}.max_held_bytes", fix=f"fix it in {FILE}")


def load_settings(root: Path, **given: Any) -> ServingSettings:
    """Read `conf/serving.yaml`, and put what is given (and is not None) over it.

    Args:
        root: The project folder.
        **given: Options of the command line.

    Raises:
        ConfigError: The file is not YAML, or holds what `settings_from` refuses.
    """
    file = root / FILE
    try:
        raw = yaml.safe_load(file.read_text()) if file.is_file() else {}
    except yaml.YAMLError as error:
        raise ConfigError(f"no YAML: {error}".replace("\n", " "), where=file, fix="fix it") from None
    options = {key: value for key, value in given.items() if value is not None}
    return settings_from(ServingSettings, {**(raw or {}), **options}, "serving")

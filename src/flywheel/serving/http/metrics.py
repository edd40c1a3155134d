"""Prometheus metrics of a server, correct with several workers: each writes to a file of its own, any reads them all.

prometheus_client does so where `PROMETHEUS_MULTIPROC_DIR` is set when it is imported; the supervisor sets it.
"""

from __future__ import annotations

import os
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What one worker counts; `task` and `version` are empty where a request belongs to none."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._children: dict[tuple[str, str, str, int], tuple[Any, Any]] = {}
        one = ("task", "version")
        self.requests = Counter(
            "flywheel_requests", "Requests answered", (*one, "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "flywheel_request_seconds", "From a request's headers to its answer", one, buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.waiting = Histogram(
            "flywheel_queue_seconds", "How long the first request of a batch waited", one, buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.batch_rows = Histogram(
            "flywheel_batch_rows", "Rows answered together", one, buckets=ROWS, registry=self.registry
        )
        self.queue = Gauge(
            "flywheel_queue_rows", "Rows that wait", ("task",), registry=self.registry, multiprocess_mode="livesum"
        )
        self.version = Gauge(
            "flywheel_served_version", "Version in service", ("task",), registry=self.registry,
            multiprocess_mode="livemin",
        )  # fmt: skip
        self.swaps = Counter(
            "flywheel_swaps", "New champions, by what became of them", ("task", "outcome"), registry=self.registry
        )
        self.feedback = Counter("flywheel_feedback", "Feedback, by what became of it", ("outcome",),
                                registry=self.registry)  # fmt: skip
        self.unrecorded = Counter(
            "flywheel_predictions_unrecorded", "Predictions that were answered but not kept", registry=self.registry
        )
        self.memory = Gauge(
            "flywheel_worker_resident_bytes", "Memory of each worker", registry=self.registry,
            multiprocess_mode="liveall",
        )  # fmt: skip

    def count(self, task: str, version: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = (task, version, route, status)
        children = self._children.get(key)
        if children is None:  # to find a metric by its labels costs more than to add to it
            children = self.requests.labels(*key), self.seconds.labels(task, version)
            self._children[key] = children
        requests, took = children
        requests.inc()
        took.observe(seconds)

    def text(self) -> bytes:
        """All workers' metrics in Prometheus' text format."""
        self.memory.set(psutil.Process().memory_info().rss)
        if not os.environ.get(VARIABLE):
            return bytes(generate_latest(self.registry))
        together = CollectorRegistry()
        together.register(MultiProcessCollector(None))  # type: ignore[no-untyped-call]
        return bytes(generate_latest(together))

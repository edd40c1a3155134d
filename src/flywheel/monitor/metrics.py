"""A check as Prometheus metrics, in a text file that node_exporter's textfile collector reads."""

from __future__ import annotations

import time
from pathlib import Path

from flywheel.monitor.check import Check


def write_metrics(check: Check, file: Path) -> None:
    """Write the file, whole or not at all: Prometheus may read it at any moment."""
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    registry = CollectorRegistry()

    def gauge(name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"flywheel_monitor_{name}", meaning, ["task", *labels], registry=registry)

    gauge("alarm", "1 where anything has drifted or fallen").labels(check.task).set(check.alarm)
    gauge("version", "The registered version in service").labels(check.task).set(check.version)
    gauge("rows", "Predictions that were checked").labels(check.task).set(check.num_rows)
    gauge("time_seconds", "When the check was made, seconds since 1970").labels(check.task).set(time.time())
    drifted = gauge("drifted_traits", "Traits that have drifted", "of")
    effect = gauge("effect", "Share of rows that would have to change for a trait to be as in the reference",
                   "of", "trait")  # fmt: skip
    for of, drift in (("inputs", check.inputs), ("answers", check.answers)):
        drifted.labels(check.task, of).set(len(drift.drifted))
        for shift in drift.shifts:
            effect.labels(check.task, of, shift.name).set(shift.distance.effect)
    quality = gauge("quality", "The metric in service, and the ends of its interval", "metric", "bound")
    if check.quality.live is not None:
        for bound in ("value", "low", "high"):
            quality.labels(check.task, check.quality.metric, bound).set(getattr(check.quality.live, bound))
    gauge("labelled_rows", "Rows whose right answer is known").labels(check.task).set(
        0 if check.quality.live is None else check.quality.live.num_rows
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(file), registry)

"""One look at a task's traffic: drift of inputs, drift of answers, quality."""

from __future__ import annotations

from dataclasses import dataclass

from flywheel.monitor.drift import Drift, compare
from flywheel.monitor.quality import Quality, measure_quality
from flywheel.monitor.reference import Reference
from flywheel.monitor.settings import MonitorSettings
from flywheel.monitor.window import Window
from flywheel.preprocessor.task import TaskPreprocessor
from flywheel.project.types import Json


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        task: The registered model.
        version: The one in service.
        model_sha256: The sha256 of its weights.
        since: The oldest prediction's time, ISO 8601; empty without any.
        until: Time of the latest prediction.
        num_rows: Predictions of the window.
        num_hidden: Number of rows whose input was not kept: only their answers are checked.
        inputs: Drift of the rows.
        answers: Drift of the answers of the version in service.
        quality: Quality by feedback and outcomes.
    """

    task: str
    version: int
    model_sha256: str
    since: str
    until: str
    num_rows: int
    num_hidden: int
    inputs: Drift
    answers: Drift
    quality: Quality

    @property
    def alarm(self) -> bool:
        """Whether anything has drifted or fallen."""
        return bool(self.inputs.drifted or self.answers.drifted or self.quality.fallen)

    @property
    def reasons(self) -> list[str]:
        """What has drifted or fallen, in words; empty where nothing has."""
        found = []
        for words, drift in (("inputs", self.inputs), ("answers", self.answers)):
            if drift.drifted:
                first = drift.drifted[0]
                others = f" and {len(drift.drifted) - 1} more" if len(drift.drifted) > 1 else ""
                found.append(f"{words} have drifted: {first.name} ({first.distance.effect:.0%} of rows){others}")
        live, tested = self.quality.live, self.quality.tested
        if self.quality.fallen and live is not None and tested is not None:
            found.append(
                f"quality has fallen: {self.quality.metric} {live.value:.3f} ({live.low:.3f} to {live.high:.3f}) on"
                f" {live.num_rows} rows, {tested.value:.3f} on the test set"
            )
        return found

    def to_json(self) -> Json:
        """Plain data."""
        return {
            "task": self.task, "version": self.version, "model_sha256": self.model_sha256, "since": self.since,
            "until": self.until, "num_rows": self.num_rows, "num_hidden": self.num_hidden, "alarm": self.alarm,
            "reasons": self.reasons, "inputs": self.inputs.to_json(), "answers": self.answers.to_json(),
            "quality": self.quality.to_json(),
        }  # fmt: skip


@dataclass(frozen=True)
class InService:
    """The version that answers.

    Attributes:
        task: The registered model.
        number: The number of the version.
        preprocessor: The version's preprocessor.
        reference: Reference of its training data.
        metrics: The version's `evaluation.json`.
    """

    task: str
    number: int
    preprocessor: TaskPreprocessor
    reference: Reference
    metrics: Json


def examine(service: InService, window: Window, settings: MonitorSettings) -> Check:
    """Look at a window.

    Raises:
        DataError: The window's rows are none of this task.
    """
    times = [row.time.isoformat() for row in window.predictions]
    return Check(
        task=service.task,
        version=service.number,
        model_sha256=service.reference.model_sha256,
        since=times[0] if times else "",
        until=times[-1] if times else "",
        num_rows=len(window),
        num_hidden=sum(row.input is None for row in window.predictions),
        inputs=compare(service.reference.inputs, window.row_traits(service.preprocessor), settings),
        answers=compare(
            service.reference.answers, window.answer_traits(service.preprocessor, service.number), settings
        ),
        quality=measure_quality(service.preprocessor.target, window, service.metrics, settings, service.number),
    )

"""What counts as drift and as lost quality: `conf/monitor.yaml`, where each task may have values of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from flywheel.project.errors import ConfigError
from flywheel.project.params import settings_from

FILE = Path("conf/monitor.yaml")
T = TypeVar("T")


@dataclass
class MonitorSettings:
    """When a task's traffic has drifted, and when its quality has fallen.

    Attributes:
        max_rows: Rows of a window at most, the latest.
        min_rows: Rows below which nothing is said about drift.
        alpha: Probability, at most, that an undrifted window is said to have drifted in its inputs; likewise in its
            answers. Holm's correction holds it for all traits together.
        min_effect: Share of rows that would have to change, at least, for a shift to count: large windows make the
            smallest shift significant, and most shifts are too small to matter.
        min_labelled: Rows with a known right answer below which nothing is said about quality.
        max_quality_loss: Share of the test set's figure that may be lost in service.
        confidence: Of the intervals of quality.
        webhook_seconds: How long the receiver of an alert may take to answer.
        webhook_tries: How often an alert is sent before it is given up.
        tasks: Values of a task's own, by its name; the task comes before what is said for all.
    """

    max_rows: int = 1000
    min_rows: int = 100
    alpha: float = 0.01
    min_effect: float = 0.1
    min_labelled: int = 50
    max_quality_loss: float = 0.05
    confidence: float = 0.95
    webhook_seconds: float = 5.0
    webhook_tries: int = 3
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def checked(self, where: str = "monitor") -> MonitorSettings:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: A number is out of range.
        """
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("alpha", "min_effect", "confidence") and not 0 < value < 1:
                raise ConfigError(f"{value} is not between 0 and 1", where=f"{where}.{item.name}", mend=_MEND)
            if isinstance(value, int | float) and (value < 0 or (value == 0 and item.name != "max_quality_loss")):
                raise ConfigError(f"{value} is out of range", where=f"{where}.{item.name}", mend=_MEND)
        if self.min_rows > self.max_rows:
            raise ConfigError("is more than max_rows", where=f"{where}.min_rows", mend=_MEND)
        return self


_MEND = f"mend it in {FILE}"


def load_settings(root: Path, task: str) -> MonitorSettings:
    """Read a task's settings.

    Args:
        root: The project.
        task: Its values under `tasks:` come before the others.

    Raises:
        ConfigError: The file is no YAML, has an unknown key, or a value is out of range.
    """
    return read_for_task(MonitorSettings, root / FILE, "monitor", task).checked()


def read_for_task(kind: type[T], file: Path, name: str, task: str) -> T:
    """Read a settings file whose key `tasks` holds values of single tasks; a file that is missing says nothing.

    Raises:
        ConfigError: The file is no YAML, has an unknown key, or a value has the wrong type.
    """
    try:
        raw = yaml.safe_load(file.read_text()) if file.is_file() else {}
    except yaml.YAMLError as error:
        raise ConfigError(f"no YAML: {error}".replace("\n", " "), where=file, mend="mend it") from None
    common = settings_from(kind, raw or {}, name)
    own = getattr(common, "tasks", {}).get(task, {})
    return settings_from(kind, {**(raw or {}), **own}, f"{name}.tasks.{task}") if own else common

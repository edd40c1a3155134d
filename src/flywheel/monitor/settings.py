"""What counts as drift and as lost quality: `conf/monitor.yaml`, where each task may have values of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from flywheel.project.errors import ConfigError
from flywheel.project.settings import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, settings_from

FILE = Path("conf/monitor.yaml")
T = TypeVar("T")


@dataclass
class MonitorSettings:
    """When a task's traffic counts as drifted, and its quality as lost.

    Attributes:
        max_rows: Most rows of a window; the latest are taken.
        min_rows: Fewest rows of a window with which drift is judged; at most `max_rows`.
        alpha: Largest probability of a false alarm: that a window which has not drifted is reported as drifted in its
            inputs, and likewise in its answers. Holm's correction holds it for all traits together.
        min_effect: Smallest shift that counts, as the share of rows that would have to change. In a large window the
            smallest shift is significant, and most shifts are too small to matter.
        min_labelled: Fewest rows with a known right answer with which quality is judged.
        max_quality_loss: Share of the test set's figure that may be lost in service.
        confidence: Confidence of the intervals of quality.
        webhook_seconds: How long the receiver of an alert may take to answer.
        webhook_tries: How often an alert is sent before it is given up.
        tasks: Values for single tasks, by name; they take the place of those for all tasks.
    """

    max_rows: PositiveInt = 1000
    min_rows: PositiveInt = 100
    alpha: Fraction = 0.01
    min_effect: Fraction = 0.1
    min_labelled: PositiveInt = 50
    max_quality_loss: NonNegativeFloat = 0.05
    confidence: Fraction = 0.95
    webhook_seconds: PositiveFloat = 5.0
    webhook_tries: PositiveInt = 3
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def check(self, where: str) -> None:
        """Refuse a window that may never be long enough."""
        if self.min_rows > self.max_rows:
            raise ConfigError("is more than max_rows", where=f"{where}.min_rows", fix=f"fix it in {FILE}")


def load_settings(root: Path, task: str) -> MonitorSettings:
    """Read a task's settings.

    Args:
        root: The project folder.
        task: Task whose values under `tasks:` take precedence.

    Raises:
        ConfigError: The file is not YAML, or holds what `settings_from` refuses.
    """
    return read_for_task(MonitorSettings, root / FILE, "monitor", task)


def read_for_task(kind: type[T], file: Path, name: str, task: str) -> T:
    """Read a settings file whose key `tasks` holds values of single tasks; a file that is missing says nothing.

    Raises:
        ConfigError: The file is not YAML, or holds what `settings_from` refuses.
    """
    try:
        raw = yaml.safe_load(file.read_text()) if file.is_file() else {}
    except yaml.YAMLError as error:
        raise ConfigError(f"no YAML: {error}".replace("\n", " "), where=file, fix="fix it") from None
    common = settings_from(kind, raw or {}, name)
    own = getattr(common, "tasks", {}).get(task, {})
    return settings_from(kind, {**(raw or {}), **own}, f"{name}.tasks.{task}") if own else common

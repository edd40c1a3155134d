"""What a task's `feedback:` may say: what is kept of a request, and when a correction becomes a training row."""

from __future__ import annotations

from typing import Any

from flywheel.project.config_feedback import CONFLICTS, KEEP, MASKS, FeedbackConfig
from flywheel.project.errors import ConfigError


def check_settings(settings: FeedbackConfig, where: str) -> None:
    """Refuse settings that cannot be meant.

    Args:
        settings: Of one task.
        where: The dotted key they stand at, for messages.

    Raises:
        ConfigError: A word is unknown, or a number is out of range.
    """
    for key, value, words in (
        ("keep", settings.keep, KEEP),
        ("conflict", settings.conflict, CONFLICTS),
        *(("mask", word, MASKS) for word in settings.mask),
    ):
        if value not in words:
            raise ConfigError(f"'{value}' is none of {', '.join(words)}", where=f"{where}.{key}", fix=_FIX)
    ranges: dict[str, Any] = {
        "min_agreement": 0.5 < settings.min_agreement <= 1,
        "max_share": 0 <= settings.max_share < 1,
        "max_class_share": settings.max_class_share >= 0,
        "max_client_share": settings.max_client_share >= 0,
        "min_client_rows": settings.min_client_rows >= 0,
        "max_deviations": settings.max_deviations >= 0,
    }
    for key, good in ranges.items():
        if not good:
            what = f"{getattr(settings, key)} is out of range"
            raise ConfigError(what, where=f"{where}.{key}", fix=_FIX)


def project_settings() -> dict[str, FeedbackConfig]:
    """What every task of `params.yaml` says under `feedback:`; tasks that say nothing have the defaults.

    Raises:
        ConfigError: `params.yaml` is missing, or a setting is wrong.
    """
    from flywheel.project.params import load_params, settings_from

    found = {}
    for name, task in load_params()["tasks"].items():
        where = f"tasks.{name}.feedback"
        given = task.get("feedback") if isinstance(task, dict) else None
        found[str(name)] = settings_from(FeedbackConfig, given or {}, where)
        check_settings(found[str(name)], where)
    return found


_FIX = "fix it in conf/ and run `make params`"

"""The settings under `feedback:` of every task of the pipeline."""

from __future__ import annotations

from flywheel.project.config_feedback import FeedbackConfig


def project_settings() -> dict[str, FeedbackConfig]:
    """What every task of `params.yaml` says under `feedback:`; tasks that say nothing have the defaults.

    Raises:
        ConfigError: `params.yaml` is missing, or a setting is wrong.
    """
    from flywheel.project.params import load_params
    from flywheel.project.settings import settings_from

    found = {}
    for name, task in load_params()["tasks"].items():
        where = f"tasks.{name}.feedback"
        given = task.get("feedback") if isinstance(task, dict) else None
        found[str(name)] = settings_from(FeedbackConfig, given or {}, where)
    return found

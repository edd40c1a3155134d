"""What a task's `feedback:` may say: what is kept of a request, and when a correction becomes a training row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flywheel.errors import ConfigError

KEEP = ("full", "reference", "hash")
CONFLICTS = ("majority", "newest", "drop")
MASKS = ("email", "url", "ip", "iban", "card", "phone", "handle")
"""Kinds of personal data that are known, in the order in which they are looked for."""


@dataclass
class FeedbackConfig:
    """What is kept of requests, and which corrections become rows of train.

    Attributes:
        keep: `full` (the input is in the database), `reference` (it is in a file beside the database, once for all
            equal inputs; for pictures and recordings), or `hash` (it is not kept, and can never become a row).
        mask: Kinds of personal data that are replaced in an input's texts before it is stored: email, url, ip, iban,
            card, phone, handle. What is masked is what a model would be trained with.
        phone_regions: Countries (two letters) whose national way of writing telephone numbers is known; numbers with
            + and a country's code are always found.
        conflict: What becomes of an input that clients give different labels: `majority` (the most frequent label, if
            at least `min_agreement` of the clients gave it), `newest`, or `drop`.
        min_agreement: Share of the clients, above one half.
        max_share: Share that feedback may have of all of train.
        max_class_share: Rows of one class that feedback may give, as a share of those that the data set itself has.
        max_client_share: The same for one client, so that a flood of one does not decide a class.
        min_client_rows: Rows of one class that one client may give however small the class is.
        max_deviations: How far from the mean of train a number may be, in its deviations; 0: any distance.
        trusted_clients: Those to whom `max_client_share` does not apply, such as a service that knows the outcome.
    """

    keep: str = "full"
    mask: list[str] = field(default_factory=list)
    phone_regions: list[str] = field(default_factory=list)
    conflict: str = "majority"
    min_agreement: float = 0.6
    max_share: float = 0.2
    max_class_share: float = 0.5
    max_client_share: float = 0.05
    min_client_rows: int = 20
    max_deviations: float = 6.0
    trusted_clients: list[str] = field(default_factory=list)


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
            raise ConfigError(f"'{value}' is none of {', '.join(words)}", where=f"{where}.{key}", mend=_MEND)
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
            raise ConfigError(what, where=f"{where}.{key}", mend=_MEND)


def project_settings() -> dict[str, FeedbackConfig]:
    """What every task of `params.yaml` says under `feedback:`; tasks that say nothing have the defaults.

    Raises:
        ConfigError: `params.yaml` is missing, or a setting is wrong.
    """
    from flywheel.params import load_params, settings_from

    found = {}
    for name, task in load_params()["tasks"].items():
        where = f"tasks.{name}.feedback"
        given = task.get("feedback") if isinstance(task, dict) else None
        found[str(name)] = settings_from(FeedbackConfig, given or {}, where)
        check_settings(found[str(name)], where)
    return found


_MEND = "mend it in conf/ and run `make params`"

"""The schema of a task's `feedback:`: what is kept of a request, and when a correction becomes a training row."""

from __future__ import annotations

from dataclasses import dataclass, field

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

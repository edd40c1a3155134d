"""The schema of a task's `feedback:`: what is kept of a request, and when a correction becomes a training row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from annotated_types import Ge, Gt, Le, Lt

from flywheel.project.settings import NonNegativeFloat, NonNegativeInt

MaskKind = Literal["email", "url", "ip", "iban", "card", "phone", "handle"]
MASKS: tuple[str, ...] = get_args(MaskKind)
"""Kinds of personal data that are known, in the order in which they are looked for."""


@dataclass
class FeedbackConfig:
    """What is kept of requests to the server, and which corrections become train rows.

    Attributes:
        keep: Where inputs are kept: `full` (in the database), `reference` (in a file beside the database, once for
            all equal inputs; for pictures and recordings), or `hash` (nowhere: such an input can never become a row).
        mask: Kinds of personal data that are replaced in an input's texts before it is stored. A model is then trained
            with the masked text.
        phone_regions: Countries (two letters) whose national form of telephone numbers is recognised; numbers with +
            and a country's code are always found.
        conflict: What becomes of an input that clients give different labels: `majority` (the most frequent label, if
            at least `min_agreement` of the clients gave it), `newest`, or `drop`.
        min_agreement: Share of the clients that must agree under `majority`.
        max_share: Largest share of train that feedback may be.
        max_class_share: Most rows of one class that feedback may give, as a share of those in the data set itself.
        max_client_share: The same limit for one client, so that no single client decides a class.
        min_client_rows: Rows of one class that one client may give, however small the class is.
        max_deviations: Largest distance of a number from the mean of train, in standard deviations of train; 0: any
            distance.
        trusted_clients: Clients to whom `max_client_share` does not apply, such as a service that knows the outcome.
    """

    keep: Literal["full", "reference", "hash"] = "full"
    mask: list[MaskKind] = field(default_factory=list)
    phone_regions: list[str] = field(default_factory=list)
    conflict: Literal["majority", "newest", "drop"] = "majority"
    min_agreement: Annotated[float, Gt(0.5), Le(1)] = 0.6
    max_share: Annotated[float, Ge(0), Lt(1)] = 0.2
    max_class_share: NonNegativeFloat = 0.5
    max_client_share: NonNegativeFloat = 0.05
    min_client_rows: NonNegativeInt = 20
    max_deviations: NonNegativeFloat = 6.0
    trusted_clients: list[str] = field(default_factory=list)

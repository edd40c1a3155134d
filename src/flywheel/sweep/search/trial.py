"""A trial of a sweep, and what it is judged by: plain data that tables, pictures and advice are made from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

WAITING, RUNNING, COMPLETE, PRUNED, FAILED = "waiting", "running", "complete", "pruned", "failed"
ENDED = (COMPLETE, PRUNED, FAILED)


@dataclass(frozen=True)
class Objective:
    """A figure that a sweep makes as large (`max`) or as small (`min`) as it can."""

    name: str
    mode: str


@dataclass(frozen=True)
class Trial:
    """One configuration of a sweep, and what has become of it.

    Attributes:
        number: Number, from 0.
        params: Varied settings: key -> value in override syntax.
        state: waiting, running, complete, pruned or failed.
        score: The validation metric of the kept epoch; NaN where there is none.
        values: Values of all objectives, the score first, if there are several; else empty.
        curve: The metric after each epoch.
        epoch: The epoch of the kept weights, from 1.
        seconds: Duration of the training.
        error: Why it failed, in one line.
        model_sha256: The sha256 of its weights.
    """

    number: int
    params: dict[str, str] = field(default_factory=dict)
    state: str = WAITING
    score: float = math.nan
    values: tuple[float, ...] = ()
    curve: tuple[float, ...] = ()
    epoch: int | None = None
    seconds: float | None = None
    error: str = ""
    model_sha256: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in ENDED

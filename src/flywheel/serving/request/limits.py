"""How much one request may ask for, and what its rows cost, known before anything is decoded."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.serving.problem import RequestError
from flywheel.serving.row import MAX_PARTS, Load
from flywheel.serving.settings import ServingSettings

BATCHES = 16
"""That the largest request fills: between them others are served, and it is given up if nobody waits for it."""


class RequestLimits:
    """The most that one request may hold.

    Args:
        settings: The settings of the server.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._most = Load(
            settings.max_request_pixels,
            settings.max_request_samples,
            settings.max_request_characters,
            settings.max_request_answers,
        )
        self._batch_rows = settings.max_batch_rows

    def costs(self, loads: Sequence[Load]) -> list[float] | None:
        """Give what each row costs, in ordinary rows, of which `max_batch_rows` make a batch; None: 1 each.

        Args:
            loads: Load of each row.

        Raises:
            RequestError: Together they are more than is allowed (413).
        """
        _check(Load(*map(sum, zip(*loads, strict=True))), self._most)
        scale = BATCHES * self._batch_rows
        costs = [scale * max(number / most for number, most in zip(load, self._most, strict=True)) for load in loads]
        return [max(1.0, cost) for cost in costs] if max(costs) > 1 else None

    def check_explained(self, load: Load) -> None:
        """Refuse to explain a row that holds too much: it is answered once without each of its parts.

        Raises:
            RequestError: It does (413).
        """
        _check(load._replace(answers=0), self._most._replace(characters=self._most.characters // MAX_PARTS))


def _check(load: Load, allowed: Load) -> None:
    for name, number, most in zip(Load._fields, load, allowed, strict=True):
        if number > most:
            what = f"{'asks for' if name == 'answers' else 'holds'} {number:,} {_UNITS[name]}, more than {most:,}"
            fix = f"send less at a time (the server's max_request_{name} decides)"
            raise RequestError(413, what, where="body", fix=fix)


_UNITS = {name: name for name in Load._fields} | {"samples": "samples of sound", "answers": "values as its answer"}

"""A running sweep as one sees it: a live table on a terminal, a line for each ended trial elsewhere."""

from __future__ import annotations

import itertools
import logging
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO

from flywheel.report.style import shorten
from flywheel.sweep.search.space import Dimension
from flywheel.sweep.search.trial import FAILED, PRUNED, RUNNING, WAITING, Objective, Trial
from flywheel.sweep.show.pictures import best_first, score_so_far

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

log = logging.getLogger("flywheel")

GAP = 2
CELLS = (18, 12, 8)
"""Characters of a parameter, as the terminal has room."""
_COLOURS = {RUNNING: "cyan", "complete": "green", PRUNED: "yellow", FAILED: "red"}


def time_left(trials: Sequence[Trial], num_planned: int, num_at_once: int = 1) -> float:
    """Estimate how many seconds a sweep still takes, if each trial takes the median of those that have ended.

    Args:
        trials: All trials; `seconds` of a running one is its time so far.
        num_planned: Number of planned trials.
        num_at_once: Number of trials that can run at the same time; at least those that run now.

    Returns:
        0 where all have ended, NaN where none has that says how long it took.
    """
    num_left = num_planned - sum(trial.ended for trial in trials)
    taken = [trial.seconds for trial in trials if trial.ended and trial.seconds is not None]
    taken = [seconds for seconds in taken if math.isfinite(seconds)]
    if num_left <= 0:
        return 0.0
    if not taken:
        return math.nan
    middle = statistics.median(taken)
    running = [trial.seconds or 0.0 for trial in trials if trial.state == RUNNING][:num_left]
    rests = [max(middle - seconds, 0.0) if math.isfinite(seconds) else middle for seconds in running]
    rests += [middle] * (num_left - len(running))
    # However many could run at once, the longest rest takes its time.
    return max(sum(rests) / min(max(num_at_once, len(running), 1), num_left), max(rests))


def in_words(seconds: float) -> str:
    """A time to read: 45 s, 3 min, 2.5 h, 4 days."""
    for limit, size, unit in ((90, 1, "s"), (90 * 60, 60, "min")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


class SweepProgress:
    """Shows a sweep while it runs."""

    def __init__(
        self, num_planned: int, dimensions: Sequence[Dimension], objective: Objective, stream: TextIO | None = None
    ) -> None:
        """Show nothing yet.

        Args:
            num_planned: Number of planned trials.
            dimensions: Dimensions of the search space.
            objective: Objective that the score belongs to.
            stream: Stream for the table, if it is a terminal; None: standard error.
        """
        self._num_planned, self._dimensions, self._objective = num_planned, dimensions, objective
        self._stream = sys.stderr if stream is None else stream
        self._is_live = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._live: Live | None = None
        self._redirected: list[tuple[Any, Any]] = []
        self._told: set[int] = set()
        self._since: dict[int, float] = {}
        self._num_at_once = 1
        self._is_closed = False

    def know(self, trials: Sequence[Trial]) -> None:
        """Mark trials that ended before as shown: a resumed sweep prints lines for new ones only."""
        self._told.update(trial.number for trial in trials if trial.ended)

    def update(self, trials: Sequence[Trial]) -> None:
        """Show how things stand: all trials, those that have ended as well."""
        if self._is_closed:
            return
        now = time.monotonic()
        timed = []
        for trial in trials:
            if trial.state == RUNNING and trial.seconds is None:
                trial = replace(trial, seconds=now - self._since.setdefault(trial.number, now))
            timed.append(trial)
        self._num_at_once = max(self._num_at_once, sum(trial.state == RUNNING for trial in timed))
        if self._is_live:
            self._live = self._live or self._start()
            self._live.update(self._table(timed, self._live.console), refresh=True)
            return
        ended = [trial for trial in timed if trial.ended and trial.number not in self._told]
        for trial in sorted(ended, key=lambda trial: trial.number):
            log.info("%s", self._line(trial, timed))
            self._told.add(trial.number)

    def close(self) -> None:
        """Leave the table as it is, and the terminal as it was; a second time does nothing."""
        self._is_closed = True
        if self._live is not None:
            self._live.stop()
            self._live = None
        for handler, stream in self._redirected:
            handler.setStream(stream)
        self._redirected.clear()

    def _start(self) -> Live:
        from rich.console import Console
        from rich.file_proxy import FileProxy
        from rich.live import Live

        console = Console(file=self._stream)
        # Without a thread that refreshes: `update` is called often enough.
        live = Live(console=console, auto_refresh=False)
        live.start()
        # A log handler keeps the stream that it was made with, and would write into the table.
        for handler in log.handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is self._stream:
                self._redirected.append((handler, handler.setStream(FileProxy(console, self._stream))))
        return live

    def _line(self, trial: Trial, trials: Sequence[Trial]) -> str:
        """What the log says of an ended trial."""
        state = trial.state
        if state == PRUNED and trial.curve:
            state += f" after {len(trial.curve)} epoch{'s' if len(trial.curve) > 1 else ''}"
        parts = [f"trial {trial.number}/{self._num_planned} {state}"]
        if trial.state == FAILED:
            parts += [shorten(_plain(trial.error), 200)] if trial.error else []
        else:
            best = best_first(trials, self._objective)
            beside = f" (best {_number(best[0].score)}, trial {best[0].number})" if best else ""
            parts.append(f"{self._objective.name} {_number(score_so_far(trial))}{beside}")
        parts.append(" ".join(f"{key}={_plain(value)}" for key, value in trial.params.items()))
        times = [in_words(trial.seconds)] if trial.seconds is not None and math.isfinite(trial.seconds) else []
        parts.append("; ".join([*times, *self._left(trials)]))
        return "  ".join(part for part in parts if part)

    def _left(self, trials: Sequence[Trial]) -> list[str]:
        seconds = time_left(trials, self._num_planned, self._num_at_once)
        return [f"about {in_words(max(seconds, 1.0))} left"] if seconds >= 0 and not self._is_done(trials) else []

    def _is_done(self, trials: Sequence[Trial]) -> bool:
        return sum(trial.ended for trial in trials) >= self._num_planned

    def _table(self, trials: Sequence[Trial], console: Console) -> RenderableType:
        """The newest trials that the terminal has room for, running ones first, and a footer."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        started = [trial for trial in trials if trial.state != WAITING]
        started.sort(key=lambda trial: (trial.state != RUNNING, -trial.number))
        footer = self._footer(trials)
        # One line is the table's head, one is the cursor's.
        shown = started[: max(console.height - len(footer) - 2, 1)]
        best = best_first(trials, self._objective)
        head, rows = self._cells(shown, console.width)
        table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
        for place, name in enumerate(head):
            is_figure = place in (0, len(head) - 4, len(head) - 3, len(head) - 1)
            table.add_column(Text(name), justify="right" if is_figure else "left", no_wrap=True, overflow="ellipsis")
        for trial, row in zip(shown, rows, strict=True):
            texts = [Text(cell) for cell in row]  # as it is: "[16]" would be taken for markup
            texts[-2].stylize(_COLOURS.get(trial.state, ""))
            table.add_row(*texts, style="bold" if best and trial.number == best[0].number else "")
        return Group(table, *(Text(line, no_wrap=True, overflow="ellipsis", style="dim") for line in footer))

    def _cells(self, trials: Sequence[Trial], width: int) -> tuple[list[str], list[list[str]]]:
        """Head and rows; of the parameters as many as a line has room for."""
        ends = [(str(trial.number), *_figures(trial)) for trial in trials]
        fixed = [("trial", "epoch", self._objective.name, "state", "s"), *ends]
        room = width + GAP - sum(max(map(len, column)) + GAP for column in zip(*fixed, strict=True))
        last = [dimension.key.split(".")[-1] for dimension in self._dimensions]
        full = []
        for dimension, name in zip(self._dimensions, last, strict=True):
            head = name if last.count(name) == 1 else dimension.key
            full.append([head, *(_plain(trial.params.get(dimension.key, "")) for trial in trials)])
        for length in CELLS:
            columns = [[shorten(text, length) for text in column] for column in full]
            ends_at = list(itertools.accumulate(max(map(len, column)) + GAP for column in columns))
            if not ends_at or ends_at[-1] <= room:
                break
        shown = [column for column, end in zip(columns, ends_at, strict=True) if ends_at[-1] <= room or end <= room - 3]
        if len(shown) < len(columns):
            shown.append(["…"] * len(fixed))
        rows = [[one[0], *(column[i] for column in shown), *one[1:]] for i, one in enumerate(fixed)]
        return rows[0], rows[1:]

    def _footer(self, trials: Sequence[Trial]) -> list[str]:
        ended = [trial for trial in trials if trial.ended]
        parts = [", ".join([f"{len(ended)}/{self._num_planned} done", *self._left(trials)])]
        if best := best_first(trials, self._objective):
            parts.append(f"best {self._objective.name} {_number(best[0].score)} (trial {best[0].number})")
        failed = [trial for trial in ended if trial.state == FAILED]
        num_pruned = sum(trial.state == PRUNED for trial in ended)
        parts += [f"{num} {word}" for num, word in ((len(failed), FAILED), (num_pruned, PRUNED)) if num]
        lines = ["; ".join(parts)]
        if failed:
            last = max(failed, key=lambda trial: trial.number)
            lines.append(f"trial {last.number} failed: {_plain(last.error) or 'no reason given'}")
        return lines


def _figures(trial: Trial) -> tuple[str, str, str, str]:
    """Epochs so far, metric, state, seconds."""
    seconds = "" if trial.seconds is None or not math.isfinite(trial.seconds) else f"{trial.seconds:.0f}"
    return str(len(trial.curve or ()) or ""), _number(score_so_far(trial)), trial.state, seconds


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.4f}" if value == 0 or 0.01 <= abs(value) < 1000 else f"{value:.4g}"


def _plain(text: str) -> str:
    """One line without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())

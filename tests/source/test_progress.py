"""The progress bar: on terminals only."""

from __future__ import annotations

import io

import pytest

from flywheel.source.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "shown"), [(io.StringIO(), False), (Terminal(), True)])
def test_a_bar_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, shown: bool) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    with progress("toys a.csv", 1000, 500) as advance:
        advance(500)
    assert ("toys a.csv" in stream.getvalue()) is shown

import io
import logging
import math
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from flywheel.sweep.search.space import Dimension
from flywheel.sweep.search.trial import COMPLETE, FAILED, PRUNED, RUNNING, WAITING, Objective, Trial
from flywheel.sweep.show.progress import SweepProgress, in_words, time_left

ACCURACY = Objective("accuracy", "max")
LR = Dimension("optimizer.lr", "float", low=1e-4, high=1e-1, log=True)
MODEL = Dimension("model", "choice", choices=("mlp", "cnn"))
HIDDEN = Dimension("model.net.hidden", "choice", choices=("[16]", "[64]"), when="model=mlp")
DIMENSIONS = [LR, MODEL, HIDDEN]
PARAMS = {"optimizer.lr": "0.003", "model": "cnn"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What the logger `flywheel` says, whether or not another test has set it up."""
    logger, said = logging.getLogger("flywheel"), []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler, level = Keep(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield said
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name, value in {"COLUMNS": "100", "LINES": "12", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    return Terminal()


def last_screen(stream: io.StringIO) -> list[str]:
    """The lines of the last refresh, without their colours."""
    frame = re.split(r"\x1b\[1A|\x1b\[2K|\r", stream.getvalue())[-1]
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame).splitlines() if line.strip()]


def ended(number: int, score: float, **more: object) -> Trial:
    return replace(Trial(number, PARAMS, COMPLETE, score, seconds=12.0), **more)  # type: ignore[arg-type]


ODD = [
    Trial(0, {}, COMPLETE),
    Trial(1, {"model": "[red]cnn[/red]\x1b[31m\nnew"}, COMPLETE, math.inf, curve=(math.nan, math.inf)),
    Trial(2, {"of": "another sweep"}, FAILED, seconds=math.nan, error="two\nlines \x1b[2J and a bell\a"),
    Trial(3, PARAMS, PRUNED, seconds=-1.0),
    Trial(4, PARAMS, RUNNING, curve=(math.nan,), seconds=math.inf),
    Trial(5, PARAMS, WAITING),
    Trial(6, PARAMS, "of no known state"),
]


def test_a_line_has_what_one_wants_to_know(lines: list[str]) -> None:
    trials = [ended(1, 0.973), *(ended(n, 0.9, seconds=12.0) for n in (0, 2)), ended(3, 0.9712)]
    SweepProgress(20, DIMENSIONS, ACCURACY, io.StringIO()).update(trials)
    assert lines[-1] == (
        "trial 3/20 complete  accuracy 0.9712 (best 0.9730, trial 1)  optimizer.lr=0.003 model=cnn  "
        "12 s; about 3 min left"
    )


def test_each_ended_trial_is_told_once_and_in_order(lines: list[str]) -> None:
    progress = SweepProgress(4, DIMENSIONS, ACCURACY, io.StringIO())
    progress.update([Trial(0, PARAMS, RUNNING), ended(1, 0.5)])
    progress.update([Trial(0, PARAMS, RUNNING), ended(1, 0.5)])
    progress.update([ended(0, 0.6), ended(1, 0.5), ended(3, 0.1), ended(2, 0.2)])
    progress.close()
    progress.close()
    assert [line.split()[1] for line in lines] == ["1/4", "0/4", "2/4", "3/4"]
    assert "left" in lines[0]
    assert "left" not in lines[-1]  # all are done


def test_a_sweep_that_goes_on_tells_what_is_new_only(lines: list[str]) -> None:
    progress = SweepProgress(4, DIMENSIONS, ACCURACY, io.StringIO())
    before = [ended(0, 0.6), ended(1, 0.5), Trial(2, PARAMS, RUNNING)]
    progress.know(before)
    progress.update(before)
    assert lines == []
    progress.update([*before[:2], ended(2, 0.7)])
    assert [line.split()[1] for line in lines] == ["2/4"]


def test_pruned_and_failed_trials_say_so(lines: list[str]) -> None:
    trials = [
        ended(0, math.nan, state=PRUNED, curve=(0.4, 0.55)),
        ended(1, math.nan, state=FAILED, error="the loss is no longer finite"),
    ]
    SweepProgress(2, DIMENSIONS, ACCURACY, io.StringIO()).update(trials)
    assert lines[0].startswith("trial 0/2 pruned after 2 epochs  accuracy 0.5500  optimizer.lr=0.003")
    assert lines[1].startswith("trial 1/2 failed  the loss is no longer finite  optimizer.lr=0.003")


def test_small_losses_keep_their_digits(lines: list[str]) -> None:
    SweepProgress(1, [], Objective("loss", "min"), io.StringIO()).update([ended(0, 0.00012345)])
    assert "loss 0.0001234 (best 0.0001234, trial 0)" in lines[0]


def test_odd_trials_make_plain_lines(lines: list[str]) -> None:
    stream = io.StringIO()
    progress = SweepProgress(0, DIMENSIONS, ACCURACY, stream)
    progress.update(ODD)
    progress.close()
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)
    assert stream.getvalue() == ""


def test_odd_trials_make_a_table(terminal: Terminal) -> None:
    progress = SweepProgress(0, DIMENSIONS, ACCURACY, terminal)
    for part in ([], ODD[:1], ODD):
        progress.update(part)
    progress.close()
    assert "two lines" in last_screen(terminal)[-1]


def test_the_table_has_running_trials_on_top_and_fits_the_terminal(terminal: Terminal, lines: list[str]) -> None:
    trials = [ended(number, number / 100, curve=(0.1, 0.2, 0.3)) for number in range(40)]
    trials[3] = replace(trials[3], state=RUNNING, score=math.nan, seconds=5.0)
    trials[39] = replace(trials[39], params={"model": "mlp", "model.net.hidden": "[16]", "optimizer.lr": "1e-4"})
    trials += [Trial(number, PARAMS, WAITING) for number in range(40, 50)]
    progress = SweepProgress(50, DIMENSIONS, ACCURACY, terminal)
    progress.update(trials)
    screen = last_screen(terminal)
    progress.close()
    assert len(screen) <= 12
    assert screen[0].split() == ["trial", "lr", "model", "hidden", "epoch", "accuracy", "state", "s"]
    assert screen[1].split() == ["3", "0.003", "cnn", "3", "0.3000", "running", "5"]
    assert screen[2].split() == ["39", "1e-4", "mlp", "[16]", "3", "0.3900", "complete", "12"]
    assert screen[3].split()[0] == "38"
    assert screen[-1] == "39/50 done, about 2 min left; best accuracy 0.3900 (trial 39)"
    assert not lines


def test_a_narrow_terminal_leaves_parameters_out_not_figures(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    many = [Dimension(f"section.parameter_{n}", "float", low=0, high=1) for n in range(9)]
    trial = ended(0, 0.5, params={one.key: "0.123456" for one in many}, curve=(0.5,))
    progress = SweepProgress(1, many, ACCURACY, terminal)
    progress.update([trial])
    progress.close()
    head, row, _ = last_screen(terminal)
    assert "…" in head
    assert row.split()[-4:] == ["1", "0.5000", "complete", "12"]
    assert max(map(len, (head, row))) <= 60


def test_the_footer_counts_what_went_wrong(terminal: Terminal) -> None:
    trials = [ended(0, 0.5), ended(1, math.nan, state=FAILED, error="out of memory"), ended(2, 0.1, state=PRUNED)]
    progress = SweepProgress(3, DIMENSIONS, ACCURACY, terminal)
    progress.update(trials)
    progress.close()
    assert last_screen(terminal)[-2:] == [
        "3/3 done; best accuracy 0.5000 (trial 0); 1 failed; 1 pruned",
        "trial 1 failed: out of memory",
    ]


def test_log_lines_stand_above_the_table_and_the_handler_gets_its_stream_back(terminal: Terminal) -> None:
    logger, handler = logging.getLogger("flywheel"), logging.StreamHandler(terminal)
    logger.addHandler(handler)
    try:
        progress = SweepProgress(2, DIMENSIONS, ACCURACY, terminal)
        progress.update([ended(0, 0.5)])
        logger.warning("a word in between")
        assert "0.5000" in terminal.getvalue().partition("a word in between")[2]  # the table was drawn again below it
        progress.close()
        progress.update([ended(1, 0.75)])  # too late: nothing is shown
        assert "0.7500" not in terminal.getvalue()
        assert handler.stream is terminal
    finally:
        logger.removeHandler(handler)
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h")  # the cursor is back


def test_a_dumb_terminal_gets_lines(terminal: Terminal, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    SweepProgress(2, DIMENSIONS, ACCURACY, terminal).update([ended(0, 0.5)])
    assert len(lines) == 1
    assert terminal.getvalue() == ""


def running(*seconds: float | None) -> list[Trial]:
    return [Trial(100 + place, {}, RUNNING, seconds=taken) for place, taken in enumerate(seconds)]


def done(*seconds: float | None) -> list[Trial]:
    return [Trial(place, {}, COMPLETE, 0.5, seconds=taken) for place, taken in enumerate(seconds)]


@pytest.mark.parametrize(
    ("trials", "num_planned", "num_at_once", "expected"),
    [
        (done(10, 10, 40), 13, 1, 100.0),  # ten more of the median
        (done(10, 10, 40), 13, 4, 25.0),
        (done(10), 2, 8, 10.0),  # one trial is not quicker for eight places
        (done(10) + running(4, 4), 5, 1, 16.0),  # two that run: 6 + 6 left, two to come: 20; two at once
        (done(10) + running(25), 2, 1, 0.0),  # slower than all others: any moment now
        (done(10) + running(None), 2, 1, 10.0),
        (done(10, None, math.nan), 4, 1, 10.0),
        (done(10, 10), 2, 1, 0.0),
        (done(10, 10), 1, 1, 0.0),
        ([*done(10), Trial(1, {}, FAILED, seconds=2.0), Trial(2, {}, PRUNED, seconds=4.0)], 4, 1, 4.0),
    ],
)
def test_time_left(trials: list[Trial], num_planned: int, num_at_once: int, expected: float) -> None:
    assert time_left(trials, num_planned, num_at_once) == pytest.approx(expected)


def test_time_left_is_unknown_before_a_trial_has_ended() -> None:
    assert math.isnan(time_left(running(5.0), 10))
    assert math.isnan(time_left(done(None), 10))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (45, "45 s"), (170, "3 min"), (9000, "2.5 h"), (4 * 86400, "4 days")]
)
def test_in_words(seconds: float, text: str) -> None:
    assert in_words(seconds) == text

import subprocess
import sys
from pathlib import Path

import pytest

from flywheel.project.errors import DataError, FlywheelError
from flywheel.project.stage import explained, run_stage


def test_errors_are_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with explained() as outcome:
        raise DataError("a.csv", 7, "two\nlines", fix="fix it")
    assert outcome.code == 2
    assert capsys.readouterr().err == "flywheel: error: a.csv, row 7: two lines; fix it\n"


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with explained() as outcome:
        raise OSError(28, "No space left on device", "/data/x")
    assert outcome.code == 2
    assert "/data/x: No space left on device; free space" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    program = "import sys\nfrom flywheel.project.stage import explained\nwith explained() as outcome:\n"
    program += "    print('x' * 10**6)\nsys.exit(outcome.code)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=-1, stderr=-1) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_bugs_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError), explained():
        raise ZeroDivisionError


def test_debug_shows_the_traceback_of_an_error() -> None:
    with pytest.raises(FlywheelError), explained(debug=True):
        raise FlywheelError("wrong")


def test_a_stage_runs_in_the_project_s_root(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "conf")
    seen: list[tuple[str, Path]] = []
    assert run_stage("train", lambda task: seen.append((task.name, Path.cwd())), ["--task", "fashion"]) == 0
    assert seen == [("fashion", project)]


def test_a_stage_on_stale_params_warns_once_a_repro(project: Path, run_flywheel) -> None:
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("max_epochs: 5", "max_epochs: 6"))
    first = run_flywheel("evaluate", "--task", "fashion")
    assert "params.yaml differs from what conf/ composes to; run `make params`" in first.stderr
    second = run_flywheel("evaluate", "--task", "fashion")
    assert "differs" not in second.stderr  # the same parent process: the same repro
    in_experiment = run_flywheel("evaluate", "--task", "fashion", DVC_EXP_NAME="x")
    assert "differs" not in in_experiment.stderr

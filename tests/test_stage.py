import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flywheel.errors import DataError, FlywheelError
from flywheel.stage import clear_leftovers, explained, read_json, run_stage, whole_file, whole_folder


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    with whole_folder(target) as part:
        (part / "new").write_text("new")
        assert (target / "old").exists()
    assert [file.name for file in target.iterdir()] == ["new"]


def test_a_failure_leaves_the_old_folder_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(ZeroDivisionError), whole_folder(target) as part:
        (part / "new").write_text("half")
        raise ZeroDivisionError
    assert [file.name for file in tmp_path.rglob("*")] == ["out", "old"]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(target) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_left_is_cleared_at_the_next_start(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from flywheel.stage import whole_folder\n"
        "with whole_folder(Path(sys.argv[1])) as part:\n"
        "    (part / 'half').write_text('half'); print('ready', flush=True); time.sleep(60)\n"
    )
    target = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", program, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not target.exists()
    assert len(list(tmp_path.iterdir())) == 1
    with whole_folder(target) as part:
        (part / "whole").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_errors_are_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with explained() as outcome:
        raise DataError("a.csv", 7, "two\nlines", mend="mend it")
    assert outcome.code == 2
    assert capsys.readouterr().err == "flywheel: error: a.csv, row 7: two lines; mend it\n"


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with explained() as outcome:
        raise OSError(28, "No space left on device", "/data/x")
    assert outcome.code == 2
    assert "/data/x: No space left on device; free space" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    program = "import sys\nfrom flywheel.stage import explained\nwith explained() as outcome:\n    print('x' * 10**6)\n"
    program += "sys.exit(outcome.code)"
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


def test_a_living_process_keeps_its_part_and_any_dead_one_s_goes(tmp_path: Path) -> None:
    alive = tmp_path / f".out.{os.getpid()}.part"
    alive.mkdir()
    for name in (".out.999999999.part", ".report.999999998.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    (tmp_path / ".decision.json.999999997.part").touch()
    clear_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [alive]


def test_a_dead_process_that_nobody_waited_for_keeps_nothing(tmp_path: Path) -> None:
    """In a container whose first process never waits, every killed stage stays as a zombie."""
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read() == b""  # it has ended, and is not waited for
    (tmp_path / f".out.{process.pid}.part").mkdir()
    deadline = time.monotonic() + 30
    while list(tmp_path.iterdir()) and time.monotonic() < deadline:
        clear_leftovers(tmp_path)
        time.sleep(0.01)
    assert not list(tmp_path.iterdir())
    process.stdout.close()
    process.wait()


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "missing; run `dvc repro`"), ('{"a": ', "is no JSON"), ("[1]", "holds no mapping"), ("\xff", "is no JSON")],
)
def test_a_stage_s_json_that_cannot_be_read_is_one_line(tmp_path: Path, content: str | None, why: str) -> None:
    file = tmp_path / "meta.json"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=why):
        read_json(file)

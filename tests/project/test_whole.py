import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flywheel.project.errors import DataError
from flywheel.project.whole import clear_leftovers, read_json, whole_file, whole_folder


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
        "import sys, time; from pathlib import Path; from flywheel.project.whole import whole_folder\n"
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
    [
        (None, "missing; run `dvc repro`"),
        ('{"a": ', "is not JSON"),
        ("[1]", "holds no mapping"),
        ("\xff", "is not JSON"),
    ],
)
def test_a_stage_s_json_that_cannot_be_read_is_one_line(tmp_path: Path, content: str | None, why: str) -> None:
    file = tmp_path / "meta.json"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=why):
        read_json(file)

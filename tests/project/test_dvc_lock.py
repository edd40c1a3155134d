"""DVC writes `dvc.lock` in place: a kill leaves half of it, and the next command puts a whole one back."""

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.lock import Lock

from flywheel.project.dvc_lock import check, keep, keep_or_restore, read, refuse_while_dvc_works
from flywheel.project.errors import ConfigError

Run = Callable[..., subprocess.CompletedProcess[str]]
ENTRY = """\
  train@{name}:
    cmd: sh src/stage.sh train {name}
    deps:
    - path: data/processed/{name}
      hash: md5
      md5: 0123456789abcdef0123456789abcdef.dir
    outs:
    - path: artifacts/{name}/model
      hash: md5
      md5: 89abcdef0123456789abcdef01234567.dir
"""
WHOLE = "schema: '2.0'\nstages:\n" + "".join(ENTRY.format(name=name) for name in ("a", "b", "c"))


@pytest.fixture
def lock(project: Path) -> Path:
    file = project / "dvc.lock"
    file.write_text(WHOLE)
    return file


def test_half_of_it_is_put_back_from_the_copy(lock: Path) -> None:
    keep(lock.parent)
    for length in {0, 1, 20, *random.Random(0).sample(range(len(WHOLE)), 20)}:
        half = WHOLE[:length]
        if half.endswith("md5: 89abcdef0123456789abcdef01234567.dir\n"):
            continue  # it ends with a whole stage
        lock.write_text(half)
        keep_or_restore(lock.parent)
        assert lock.read_text() == WHOLE or half.endswith("\n"), half
        check(lock.parent)


def test_what_dvc_would_take_is_kept_and_not_touched(lock: Path) -> None:
    keep_or_restore(lock.parent)
    newer = WHOLE + ENTRY.format(name="d")
    lock.write_text(newer)
    keep_or_restore(lock.parent)
    assert (lock.read_text(), (lock.parent / ".flywheel/dvc.lock").read_text()) == (newer, newer)


def test_without_a_copy_it_comes_from_the_commit(lock: Path) -> None:
    root = lock.parent
    for words in (
        ["init", "-q"],
        ["add", "dvc.lock"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *words], cwd=root, check=True)
    lock.write_text(WHOLE[:200])
    keep_or_restore(root)
    assert lock.read_text() == WHOLE
    assert (root / ".flywheel/dvc.lock.damaged").read_text() == WHOLE[:200]


def test_without_either_nothing_is_lost_and_the_way_out_is_named(lock: Path) -> None:
    lock.write_text(WHOLE[:200])
    with pytest.raises(ConfigError, match=r"dvc\.lock: is damaged .*there is no copy; `rm dvc\.lock`"):
        keep_or_restore(lock.parent)
    assert lock.read_text() == WHOLE[:200]


def test_both_sides_of_a_merge_are_left_to_the_person(lock: Path, run_flywheel: Run) -> None:
    keep(lock.parent)
    merging = f"{WHOLE}<<<<<<< HEAD\n{ENTRY.format(name='d')}=======\n{ENTRY.format(name='e')}>>>>>>> other\n"
    lock.write_text(merging)
    done = run_flywheel("command.cli", "params")
    assert done.returncode == 2
    assert "dvc.lock: holds both sides of a merge; take one side, `git checkout --theirs dvc.lock`" in done.stderr
    assert lock.read_text() == merging


def test_a_file_that_dvc_is_writing_is_left_to_it(lock: Path) -> None:
    keep(lock.parent)
    lock.write_text(WHOLE[:200])
    (lock.parent / ".dvc/tmp").mkdir(exist_ok=True)
    with Lock(str(lock.parent / ".dvc/tmp/lock")), pytest.raises(ConfigError, match="another `dvc` is using it"):
        keep_or_restore(lock.parent)
    assert lock.read_text() == WHOLE[:200]


def test_a_second_repro_is_told_of_the_first_and_what_to_do(lock: Path, run_flywheel: Run) -> None:
    (lock.parent / ".dvc/tmp").mkdir(exist_ok=True)
    rwlock = lock.parent / ".dvc/tmp/rwlock"
    holder = {"pid": os.getpid(), "cmd": "/x/a project/.venv/bin/dvc repro -s train@digits"}
    rwlock.write_text(json.dumps({"write": {"/x/data": holder}, "read": {}}))
    done = run_flywheel("command.cli", "params")
    assert done.returncode == 2
    said = f"process {os.getpid()} is working in this project: dvc repro -s train@digits; wait until it has ended, or"
    assert said in done.stderr
    for content in (json.dumps({"read": {"/x/data": [{**holder, "pid": 999_999_999}]}}), "{half", ""):
        rwlock.write_text(content)
        refuse_while_dvc_works(lock.parent)


@pytest.mark.parametrize("half", ["", '{"write": {"/x'])
def test_half_of_dvc_s_list_of_processes_is_removed(lock: Path, half: str) -> None:
    """DVC writes it before and after each stage, and refuses every command where it cannot read it."""
    rwlock = lock.parent / ".dvc/tmp/rwlock"
    rwlock.parent.mkdir(exist_ok=True)
    rwlock.write_text(half)
    with pytest.raises(ConfigError, match=r"rwlock: is half written; run `flywheel params`"):
        check(lock.parent)
    keep_or_restore(lock.parent)
    assert not rwlock.exists()
    assert check(lock.parent) == 3


def test_a_stage_keeps_the_copy_and_params_puts_it_back(lock: Path, run_flywheel: Run) -> None:
    run_flywheel("evaluate", "--task", "fashion", DVC_ROOT=str(lock.parent))
    assert (lock.parent / ".flywheel/dvc.lock").read_text() == WHOLE
    lock.write_text(WHOLE[:200])
    run_flywheel("evaluate", "--task", "fashion")  # by hand: nobody has looked whether it is whole
    assert (lock.parent / ".flywheel/dvc.lock").read_text() == WHOLE
    done = run_flywheel("command.cli", "params")
    assert done.returncode == 0
    assert "dvc.lock is damaged" in done.stderr
    assert "put back from .flywheel/dvc.lock" in done.stderr
    assert lock.read_text() == WHOLE


def test_an_experiment_s_copy_does_not_replace_the_main_checkout_s(lock: Path, tmp_path: Path) -> None:
    keep(lock.parent)
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    keep(tmp_path)
    assert (lock.parent / ".flywheel/dvc.lock").read_text() == WHOLE


def test_reading_half_of_it_is_one_line(lock: Path) -> None:
    lock.write_text("stages:\n  train@a: {}\n  trai")
    with pytest.raises(ConfigError, match=r"dvc\.lock: is damaged .*run `flywheel params`"):
        read(lock.parent)

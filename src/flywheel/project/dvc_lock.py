"""`dvc.lock` after a kill: DVC writes it in place, so that half of it may be left, and then no `dvc repro` starts.

The same holds of `.dvc/tmp/rwlock`, DVC's list of who reads and writes what, which is worth nothing once DVC has ended.

Each stage keeps a copy of the file that DVC has just read; `flywheel params` (thus `make repro`) and the loop look at
the file before DVC does, and put the copy back where it is damaged. Nothing that was built since is lost: DVC takes it
out of its run cache.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from flywheel.project.errors import ConfigError
from flywheel.project.params import home_root, load_yaml, state_dir
from flywheel.project.whole import is_alive, whole_file

log = logging.getLogger("flywheel")

NAME = "dvc.lock"
RWLOCK = ".dvc/tmp/rwlock"
HINT = "run `flywheel params`, which puts the last whole one back"
CONFLICT = b"<<<<<<< "  # git's mark, at the beginning of a line


def read(root: Path) -> dict[str, Any]:
    """What `dvc.lock` holds; empty where there is none.

    Raises:
        ConfigError: It is not YAML, because a kill has left half of it or a merge both sides.
    """
    file = root / NAME
    _refuse_conflict(file)
    try:
        found = load_yaml(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())[:120]
        raise ConfigError(f"is damaged ({why})", where=NAME, fix=HINT) from None
    if not isinstance(found, dict):
        raise ConfigError("is damaged (it holds no mapping)", where=NAME, fix=HINT)
    return found


def check(root: Path) -> int:
    """Count the stages that `dvc.lock` knows, held against DVC's own schema.

    Raises:
        ConfigError: DVC would refuse it, or its list of readers and writers.
    """
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    if _is_half(root / RWLOCK):
        raise ConfigError("is half written", where=RWLOCK, fix="run `flywheel params`, which removes it")
    if not (root / NAME).exists():
        return 0
    found = read(root)
    try:
        COMPILED_LOCKFILE_SCHEMA(found)
    except Invalid as error:
        raise ConfigError(f"is damaged ({error})", where=NAME, fix=HINT) from None
    if not (root / NAME).read_bytes().endswith(b"\n"):  # half of a line may be valid YAML too
        raise ConfigError("is damaged (its last line is incomplete)", where=NAME, fix=HINT)
    return len(found.get("stages", {}))


def keep(root: Path) -> None:
    """Keep a copy of `dvc.lock`, if there is one and it is not that of an experiment's copy of the project.

    To be called only where the file is known to be whole, as in a stage: DVC has read it before it starts one.
    """
    file, copy = root / NAME, state_dir() / NAME
    if root.resolve() != home_root().resolve() or not file.is_file():
        return
    content = file.read_bytes()
    if not copy.is_file() or copy.read_bytes() != content:
        with whole_file(copy) as part:
            part.write_bytes(content)


def keep_or_restore(root: Path) -> None:
    """Look at `dvc.lock` before DVC does: keep a copy of it if it is whole, else put the last whole one back.

    That is the copy in `.flywheel/`, or else the committed one; the damaged file is kept as
    `.flywheel/dvc.lock.damaged`.

    Raises:
        ConfigError: It is damaged and there is no whole one, DVC is at work on it, or a merge has left both sides.
    """
    _refuse_conflict(root / NAME)
    if _is_half(root / RWLOCK):
        with _dvc_shut_out(root, RWLOCK):
            if _is_half(root / RWLOCK):
                (root / RWLOCK).unlink()
                log.warning("%s was half written by a `dvc` that was killed; removed", RWLOCK)
    try:
        check(root)
    except ConfigError:
        with _dvc_shut_out(root):
            _restore(root)
    else:
        keep(root)


def refuse_while_dvc_works(root: Path) -> None:
    """Refuse where DVC runs a stage of this project: its stages read `params.yaml` when they start, and no earlier.

    Raises:
        ConfigError: It does; the process is named.
    """
    try:
        held = json.loads((root / RWLOCK).read_text())
    except (OSError, ValueError):
        return
    holders = [*held.get("write", {}).values(), *(one for some in held.get("read", {}).values() for one in some)]
    for pid, command in sorted({(int(one["pid"]), str(one["cmd"])) for one in holders}):
        if is_alive(pid):
            words = _without_folder(command)
            what = f"process {pid} is working in this project: {words}"
            raise ConfigError(what, where="DVC", fix=f"wait until it has ended, or end it: kill {pid}")


def _without_folder(command: str) -> str:
    """A process's command as it was typed, whose program DVC knows by its whole path (which may hold spaces)."""
    return re.sub(r"^/.*/(?=dvc( |$)|python[\d.]*( |$))", "", command)


def _refuse_conflict(file: Path) -> None:
    """Refuse what a merge has left to decide: the last whole file would silently drop the other side's stages."""
    if any(line.startswith(CONFLICT) for line in (_bytes(file) or b"").splitlines()):
        fix = f"take one side, `git checkout --theirs {NAME}` (or --ours), and `dvc repro`"
        raise ConfigError("holds both sides of a merge", where=NAME, fix=fix)


def _restore(root: Path) -> None:
    try:
        check(root)  # again: DVC may have been in the middle of writing it
        return
    except ConfigError as error:
        what = error.what
    file = root / NAME
    damaged = file.read_bytes()
    with whole_file(state_dir() / f"{NAME}.damaged") as part:
        part.write_bytes(damaged)
    for content, place in ((_bytes(state_dir() / NAME), f".flywheel/{NAME}"), (_committed(root), "the commit")):
        if content is None:
            continue
        with whole_file(file) as part:
            part.write_bytes(content)
        with contextlib.suppress(ConfigError):
            check(root)
            log.warning("%s %s; put back from %s, what was built since is in DVC's run cache", NAME, what, place)
            return
    with whole_file(file) as part:
        part.write_bytes(damaged)
    hint = f"`rm {NAME}`: the next `dvc repro` takes what was built out of DVC's run cache"
    raise ConfigError(f"{what}, and there is no copy", where=NAME, fix=hint)


def _is_half(rwlock: Path) -> bool:
    try:
        json.loads(rwlock.read_text())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False


@contextlib.contextmanager
def _dvc_shut_out(root: Path, name: str = NAME) -> Iterator[None]:
    """Hold the lock under which DVC writes a file."""
    from dvc.lock import Lock, LockError

    (root / ".dvc/tmp").mkdir(parents=True, exist_ok=True)
    guard = root / (".dvc/tmp/lock" if name == NAME else f"{RWLOCK}.lock")
    try:
        with Lock(str(guard)):
            yield
    except LockError:
        raise ConfigError("another `dvc` is using it", where=name, fix="wait until it has ended") from None


def keep_what_dvc_has_read(root: Path) -> None:
    """Keep a copy in a stage that DVC has started, which sets `DVC_ROOT`."""
    if "DVC_ROOT" in os.environ:
        keep(root)


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _committed(root: Path) -> bytes | None:
    command = ["git", "-C", str(root), "show", f"HEAD:./{NAME}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None

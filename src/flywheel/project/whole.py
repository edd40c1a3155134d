"""Files and folders that appear whole or not at all, and what killed processes have left of them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flywheel.project.errors import DataError
from flywheel.project.types import Json


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target` that takes its place when the block ends well, and goes when it fails.

    A killed stage leaves the old target, or none, but never half of one under the target's name.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(target.parent)
    part = target.parent / f".{target.name}.{os.getpid()}.part"
    part.mkdir()
    try:
        yield part
        if target.exists():
            shutil.rmtree(target)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a name beside `target` to write to; it takes the target's place when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(target.parent)
    part = target.parent / f".{target.name}.{os.getpid()}.part"
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def all_or_nothing(files: Sequence[Path]) -> Iterator[None]:
    """Put several files, and the folders that hold them, back as they were if the block fails or is interrupted."""
    before = {file: file.read_bytes() if file.is_file() else None for file in files}
    folders = [file.parent for file in files if not file.parent.exists()]
    try:
        yield
    except BaseException:
        for file, content in before.items():
            if content is None:
                file.unlink(missing_ok=True)
            elif not file.is_file() or file.read_bytes() != content:
                with whole_file(file) as part:
                    part.write_bytes(content)
        for folder in folders:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def read_json(file: Path) -> Json:
    """Read a stage's JSON output.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        found: Any = json.loads(file.read_text())
    except FileNotFoundError:
        raise DataError(file, None, "missing", fix="run `dvc repro`") from None
    except ValueError as error:
        raise DataError(file, None, f"is not JSON: {error}", fix="run `dvc checkout`, or make it again") from None
    if not isinstance(found, dict):
        raise DataError(file, None, "holds no mapping", fix="run `dvc checkout`, or make it again")
    return found


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder, of any stage's; a living process keeps its own.

    Of any stage's, because DVC may restore the killed stage's output from its cache and never start it again.
    """
    for part in folder.glob(".*.*.part"):
        pid = part.name.rsplit(".", 2)[1]
        if pid.isdigit() and not is_alive(int(pid)):
            shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is more than a name that nobody has waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process is dead and only not yet waited for, as in containers whose first process never waits."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False

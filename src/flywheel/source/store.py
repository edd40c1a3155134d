"""The content-addressed store `.flywheel/store/`: each file once, under its sha256, for all tasks and processes.

    <2>/<sha256>            the bytes, read-only
    listing/<key>.json      which files a source without promised checksums gave, by its ETag or version
    partial/                broken downloads, to be resumed
    lock/, scratch/         by data set

Bytes leave it as copies, so that editing a raw file never corrupts the store, and are hashed on the way, so that what
rotted is found and fetched again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from flywheel.project.digest import sha256_of
from flywheel.project.params import state_dir
from flywheel.project.types import Json

log = logging.getLogger("flywheel")

FICLONE = 0x40049409  # the ioctl that shares blocks between two files (btrfs, xfs); linux/fs.h
FORGOTTEN_AFTER_DAYS = 30


class Store:
    """Files by sha256.

    Args:
        folder: Folder of the store; None: `.flywheel/store`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_dir() / "store"
        self.partial = self.folder / "partial"

    def path(self, sha256: str) -> Path:
        """Say where the bytes with this sum lie, if they are there."""
        return self.folder / sha256[:2] / sha256

    def put(self, path: Path, sha256: str) -> Path:
        """Move a file, whose sum is known, in; gives its place."""
        final = self.path(sha256)
        final.parent.mkdir(parents=True, exist_ok=True)
        path.chmod(0o444)
        return path.replace(final)

    def copy_out(self, sha256: str, target: Path) -> bool:
        """Copy the bytes with this sum to `target`.

        Returns:
            Whether they were there and whole; if they had rotted they are gone now, and so is `target`.
        """
        source = self.path(sha256)
        if not source.is_file():
            return False
        copy(source, target)
        if sha256_of(target) == sha256:
            return True
        log.warning("%s: its bytes are damaged; fetching them again", source)
        target.unlink()
        source.unlink(missing_ok=True)
        return False

    def listing(self, key: str) -> dict[str, str] | None:
        """Give the files (name -> sha256) that were listed under a key."""
        try:
            listed: dict[str, str] = json.loads((self.folder / "listing" / f"{key}.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return listed

    def list_as(self, key: str, files: dict[str, str]) -> None:
        """Note which files a source gave."""
        write_json(self.folder / "listing" / f"{key}.json", files)

    @contextlib.contextmanager
    def work_on(self, key: str, title: str) -> Iterator[Path]:
        """Hold the lock of one data set, and give an empty scratch folder on the store's file system.

        Args:
            key: The key of the data set; who else wants it waits, and then finds it in the store.
            title: Named when there is someone to wait for.
        """
        with locked(self.folder / "lock" / f"{key}.lock", f"{title}: waiting for another process that fetches it"):
            self._forget()
            scratch = self.folder / "scratch" / key
            shutil.rmtree(scratch, ignore_errors=True)  # left by a killed process: the lock says that it is dead
            scratch.mkdir(parents=True)
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)

    def _forget(self) -> None:
        """Remove broken downloads that were never resumed."""
        limit = time.time() - FORGOTTEN_AFTER_DAYS * 86400
        for file in self.partial.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if file.suffix != ".lock" and file.stat().st_mtime < limit:
                    file.unlink()


@contextlib.contextmanager
def locked(file: Path, waiting: str) -> Iterator[None]:
    """Hold a lock file; the operating system frees it when the process dies.

    Args:
        file: The lock file, made if it is not there.
        waiting: Logged when somebody else holds it.
    """
    from filelock import FileLock, Timeout

    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s", waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def copy(source: Path, target: Path) -> None:
    """Copy bytes, sharing the blocks on disk where the file system can; the copy is writable and independent."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not _clone(source, target):
        shutil.copyfile(source, target)
    target.chmod(0o644)


def _clone(source: Path, target: Path) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    with source.open("rb") as old, target.open("wb") as new:
        try:
            fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
        except OSError:
            return False
    return True


def write_json(file: Path, content: Json | dict[str, str]) -> None:
    """Write JSON, sorted and whole."""
    write_whole(file, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_whole(file: Path, text: str) -> None:
    """Write a small file so that a reader sees the old text or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.write_text(text)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)

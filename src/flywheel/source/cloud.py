"""`s3:` and `gs:` through fsspec; only the driver of each is an extra (`pip install 'flywheel[s3]'`)."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flywheel.project.errors import SourceError
from flywheel.source.base import CHUNK_BYTES, SkippedError, Source, safe_name, shown, size_text
from flywheel.source.http import last_part
from flywheel.source.progress import progress

DRIVERS = {"s3": "s3fs", "gs": "gcsfs"}
# botocore's own tries come on top of s3fs's five: offline, they make half a minute.
OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": {"retries": {"max_attempts": 1}}}, "gs": {}}
ANONYMOUS: dict[str, dict[str, Any]] = {"s3": {"anon": True}, "gs": {"token": "anon"}}
COMPLAINTS = {
    "botocore.exceptions": "BotoCoreError",
    "google.auth.exceptions": "GoogleAuthError",
    "aiohttp": "ClientError",
}
"""What the drivers raise beside OSError: module and class."""


class CloudSource(Source):
    """A file, or all files under a prefix, in an object store."""

    def get(self, uri: str) -> Path:
        """Download it."""
        system, path = self._open(uri)
        found = self._find(system, path, uri)
        folder = self.job.new_folder()
        if list(found) == [path]:
            target = folder / last_part(uri)
            self._download(system, path, found[path], target, uri)
            self.check_downloaded(target, uri)
            return target
        for place, num_bytes in found.items():
            name = place.removeprefix(path).strip("/")
            if not safe_name(name):
                raise SourceError(f"refused: '{name}' lies outside the folder", where=shown(uri))
            self._download(system, place, num_bytes, folder / name, uri)
        return folder

    def probe(self, uri: str) -> str:
        """Ask for its size."""
        system, path = self._open(uri)
        with _explained(uri):
            num_bytes = system.info(path).get("size")
        return f"reachable, {size_text(num_bytes)}" if num_bytes else "reachable"

    def validator(self, uri: str) -> str:
        """Hash what the store says of each object: its ETag or generation, its size and its time."""
        system, path = self._open(uri)
        with _explained(uri):
            details = {place: str(system.info(place)) for place in self._find(system, path, uri)}
        return hashlib.sha256(str(sorted(details.items())).encode()).hexdigest()

    def _open(self, uri: str) -> tuple[Any, str]:
        """Give the file system, with the machine's own credentials or, for a public bucket, without any."""
        scheme = uri.partition(":")[0]
        _need_driver(scheme, uri)
        import fsspec

        refusals = []
        for options in ({}, ANONYMOUS[scheme]):
            system = fsspec.filesystem(scheme, **OPTIONS[scheme], **options)
            path = str(system._strip_protocol(uri))
            try:
                system.info(path)
            except FileNotFoundError:
                raise SourceError("is not there", where=shown(uri)) from None
            except _complaints() as error:
                refusals.append(str(error) or type(error).__name__)
                if not _about_credentials(error):
                    break
            else:
                return system, path
        raise SkippedError(f"no access ({refusals[0]})", where=shown(uri))

    def _find(self, system: Any, path: str, uri: str) -> dict[str, int]:
        with _explained(uri):
            found = system.find(path, detail=True)
            if not found:
                raise SourceError("holds no files", where=shown(uri))
        return {place: int(info.get("size") or 0) for place, info in sorted(found.items())}

    def _download(self, system: Any, path: str, num_bytes: int, target: Path, uri: str) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            with _explained(uri):
                content = stack.enter_context(system.open(path, "rb"))
            file = stack.enter_context(target.open("wb"))
            advance = stack.enter_context(progress(self.job.asked_for, num_bytes, 0))
            while True:
                with _explained(uri):  # the driver's errors, not those of the local disk
                    block = content.read(CHUNK_BYTES)
                if not block:
                    return
                file.write(block)
                advance(len(block))


def _need_driver(scheme: str, uri: str) -> None:
    driver = DRIVERS[scheme]
    if importlib.util.find_spec(driver) is None:
        raise SkippedError(f"{driver} is not installed", where=shown(uri), fix=f"`pip install 'flywheel[{scheme}]'`")


def _complaints() -> tuple[type[Exception], ...]:
    found: list[type[Exception]] = [OSError]
    for module, name in COMPLAINTS.items():
        with contextlib.suppress(ImportError):
            found.append(getattr(importlib.import_module(module), name))
    return tuple(found)


def _about_credentials(error: BaseException) -> bool:
    return isinstance(error, PermissionError) or "Credential" in type(error).__name__


@contextlib.contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except _complaints() as error:
        raise SkippedError(str(error) or type(error).__name__, where=shown(uri)) from None

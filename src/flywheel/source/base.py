"""What every kind of source has in common: it brings what a URI names, or says why it cannot."""

from __future__ import annotations

import re
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from flywheel.project.config import SourceConfig
from flywheel.project.digest import sha256_of
from flywheel.project.errors import ChecksumError, SourceError

CHUNK_BYTES = 1 << 20


class SkippedError(SourceError):
    """A source cannot be used from here at all (its tool or the network is missing): the next one is tried."""


@dataclass
class Job:
    """What the sources of one data set share while it is fetched.

    Attributes:
        scratch: An empty folder, on the store's file system, removed at the end.
        partial: Folder of broken downloads, to be resumed.
        unreachable: Hosts that did not answer, and why: they are asked once, not once a file.
        asked_for: Title of progress bars.
    """

    scratch: Path
    partial: Path
    unreachable: dict[str, str] = field(default_factory=dict)
    asked_for: str = ""

    def new_folder(self) -> Path:
        """Make an empty folder in `scratch`."""
        return Path(tempfile.mkdtemp(dir=self.scratch))


class Source(ABC):
    """One way to obtain bytes; an instance serves one entry of a data set's `sources` and is closed after it.

    Attributes:
        local: Whether the bytes lie on this machine anyway, so that keeping them in the store would be waste.
    """

    local: ClassVar[bool] = False

    def __init__(self, config: SourceConfig, job: Job) -> None:
        self.config = config
        self.job = job

    @abstractmethod
    def get(self, uri: str) -> Path:
        """Bring what `uri` (without `{file}`) names.

        Returns:
            A file or a folder. If it lies in the job's scratch folder the caller may move it, else only read it.

        Raises:
            SkippedError: The source cannot be used from here.
            SourceError: It can, but does not have this.
        """

    @abstractmethod
    def probe(self, uri: str) -> str:
        """Say in a few words that the source can be used, quickly and without downloading.

        Raises:
            SourceError: It cannot; the message says why.
        """

    def validator(self, uri: str) -> str | None:
        """Give a text that changes when the bytes behind `uri` do; None: there is no such thing."""
        return None

    def close(self) -> None:  # noqa: B027 - most kinds hold nothing open
        """Give back connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check_downloaded(self, path: Path, uri: str) -> None:
        """Compare a download with the sha256 that the configuration promises for it, if any.

        Raises:
            ChecksumError: They differ.
        """
        if self.config.sha256:
            check_sha256(sha256_of(path), self.config.sha256, shown(uri))


def check_sha256(got: str, promised: str, where: str) -> None:
    """Compare two sums.

    Raises:
        ChecksumError: They differ; both are named.
    """
    if got != promised.lower():
        raise ChecksumError(f"sha256 is {got}, promised was {promised.lower()}", where=where)


def shown(uri: str) -> str:
    """Make a URI fit for logs and records: without a user's name and password."""
    return re.sub(r"//[^/@\s]*@", "//***@", uri)


def size_text(num_bytes: int) -> str:
    """Write a size as people read it, e.g. `54.9 MB`."""
    if num_bytes < 1000:
        return f"{num_bytes} bytes"
    size = float(num_bytes)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"


def safe_name(name: str) -> bool:
    """Say whether a file name stays inside the folder it is put into, on every operating system."""
    parts = re.split(r"[/\\]", name)
    return bool(name) and "\0" not in name and ":" not in parts[0] and not {"", ".", ".."} & set(parts)

"""The folder that an archive is unpacked into: what may be put there, and how much."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from flywheel.project.errors import SourceError
from flywheel.source.base import CHUNK_BYTES, safe_name, size_text


@dataclass(frozen=True)
class Limits:
    """Beyond these, an archive is taken for a bomb.

    Attributes:
        ratio: Bytes unpacked for each byte packed.
        free_bytes: Unpacked bytes up to which any ratio is fine.
        num_members: Number of files and folders.
        header_bytes: The size of a tar's header between two members.
    """

    ratio: int = 200
    free_bytes: int = 256 << 20
    num_members: int = 2_000_000
    header_bytes: int = 4 << 20


class Meter:
    """Counts what an archive unpacks to, and stops it at the limits."""

    def __init__(self, archive: Path, limits: Limits, num_bytes: int) -> None:
        self.archive, self.limits = archive, limits
        self._allowed = max(limits.free_bytes, limits.ratio * num_bytes)
        self._left_bytes, self._members = self._allowed, 0

    def fresh(self) -> Meter:
        """Make a meter of the same limits, to count something else."""
        return Meter(self.archive, replace(self.limits, ratio=0, free_bytes=self._allowed), 0)

    def count(self, num_bytes: int) -> None:
        """Count bytes before they are written."""
        self._left_bytes -= num_bytes
        if self._left_bytes < 0:
            raise self.bomb(f"unpacks to more than {size_text(self._allowed)}")

    def member(self) -> None:
        """Count a file or folder."""
        self._members += 1
        if self._members > self.limits.num_members:
            raise self.bomb(f"holds more than {self.limits.num_members} members")

    def bomb(self, why: str) -> SourceError:
        """Make the error for an archive that grows beyond measure."""
        return SourceError(why, where=self.archive.name, fix="if that is right, unpack it by hand and use file:")


class Unpacking:
    """The folder that an archive is unpacked into, and what may be put there.

    Args:
        folder: Folder to create; it must not exist, or be empty.
        meter: Counter of members and bytes.
        prefix: Only this member, or what lies under this folder, is unpacked; empty: everything.
    """

    def __init__(self, folder: Path, meter: Meter, prefix: str = "") -> None:
        self.folder, self.meter = folder, meter
        self._prefix = prefix.strip("/")
        self._links: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def name(self, raw: str) -> str | None:
        """Check a member's name and make it plain; None: it is not wanted, or is the folder itself."""
        self.meter.member()
        name = raw.removeprefix("./").rstrip("/")
        if name in ("", "."):
            return None
        if not safe_name(name):
            raise self.refused(raw, "lies outside the folder")
        wanted = not self._prefix or name == self._prefix or name.startswith(f"{self._prefix}/")
        return name if wanted else None

    def make_folder(self, name: str) -> None:
        """Make a folder."""
        self._reserve(name).mkdir(parents=True, exist_ok=True)

    def write(self, name: str, content: IO[bytes]) -> None:
        """Stream a regular file to a new name."""
        self._pour(name, self._reserve(name), content)

    def _pour(self, name: str, target: Path, content: IO[bytes]) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise self.refused(name, "comes twice")
        with target.open("xb") as file:
            while block := content.read(CHUNK_BYTES):
                self.meter.count(len(block))
                file.write(block)

    def link(self, name: str, target: str, *, relative: bool) -> None:
        """Note a link, `relative` to its own folder or to the archive's root; at the end it becomes a copy."""
        base = posixpath.dirname(name) if relative else ""
        plain = posixpath.normpath(posixpath.join(base, target))
        if target.startswith("/") or not safe_name(plain):
            raise self.refused(name, f"links out of the folder, to '{target}'")
        self._reserve(name)
        self._links[name] = plain

    def finish(self) -> None:
        """Turn links into copies of what they lead to."""
        for name in self._links:
            end, seen = self._links[name], {name}
            while end in self._links and end not in seen:
                seen.add(end)
                end = self._links[end]
            source = self.folder / end
            if not source.is_file():
                raise self.refused(name, f"links to '{end}', which is not a file of the archive")
            with source.open("rb") as content:
                self._pour(name, self.folder / name, content)

    def refused(self, name: str, why: str) -> SourceError:
        """Make the error for a member that is not unpacked."""
        return SourceError(f"refused: member '{name}' {why}", where=self.meter.archive.name)

    def _reserve(self, name: str) -> Path:
        parents = Path(name).parents
        if name in self._links or any(str(parent) in self._links for parent in parents):
            raise self.refused(name, "goes through a link")
        if any((self.folder / parent).is_file() for parent in parents if str(parent) != "."):
            raise self.refused(name, "lies under a file")
        return self.folder / name

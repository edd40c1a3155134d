"""Turns what a source brought (a file, an archive, a folder) into named files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from flywheel.project.config import FileConfig, SourceConfig
from flywheel.project.errors import SourceError
from flywheel.source.archive import gunzip, unpack
from flywheel.source.base import Job, shown
from flywheel.source.check import RECORD
from flywheel.source.folder import files_in

log = logging.getLogger("flywheel")


def offer(
    path: Path, config: SourceConfig, promised: Mapping[str, FileConfig], wanted: Sequence[str], job: Job
) -> dict[str, Path]:
    """Unpack what was brought, and pick the files that are wanted.

    Args:
        path: A file or a folder.
        config: Settings that say how to unpack.
        promised: The files that the data set names; empty: whatever there is.
        wanted: Files to pick; where the URI holds `{file}`, the one that it stands for.
        job: Job with the scratch folder.

    Returns:
        Files by the name they are to have.

    Raises:
        SourceError: It cannot be unpacked, or does not have the files.
    """
    single = "{file}" in config.uri or len(promised) == 1
    found = _unpacked(path, config, promised, job, wanted[0] if single else "")
    if not promised:
        if found.pop(RECORD, None):
            log.warning("%s: left out: its %s, a name that is Flywheel's own", shown(config.uri), RECORD)
        if not found:
            raise SourceError("holds no files", where=shown(config.uri))
        return found
    for want in wanted:
        if want not in found:
            raise SourceError(f"has no file '{want}'", where=shown(config.uri), fix=_hint(want, found))
    return {want: found[want] for want in wanted}


def _unpacked(
    path: Path, config: SourceConfig, promised: Mapping[str, FileConfig], job: Job, sole: str
) -> dict[str, Path]:
    if config.unpack == "archive":
        if path.is_dir():
            raise SourceError("is a folder, not an archive", where=shown(config.uri), fix="set unpack: none")
        folder = job.new_folder()
        unpack(path, folder, prefix=config.member)
        inside = folder / config.member.strip("/")
        if not inside.exists():
            raise SourceError(f"the archive has no '{config.member}'", where=shown(config.uri))
        return {inside.name: inside} if inside.is_file() else files_in(inside)
    found = files_in(path) if path.is_dir() else {sole or path.name: path}
    if config.unpack == "gzip":
        return dict(_gunzipped(file, named, promised, job, packed=path.is_dir()) for named, file in found.items())
    return found


def _gunzipped(
    path: Path, name: str, promised: Mapping[str, FileConfig], job: Job, *, packed: bool
) -> tuple[str, Path]:
    """Decompress one file; `packed` ones are named as they are packed, and plain ones among them stay as they are."""
    if packed and not name.endswith(".gz"):
        return name, path
    plain = name if name in promised else name.removesuffix(".gz")
    target = job.new_folder() / "content"
    gunzip(path, target, num_bytes=promised.get(plain, FileConfig()).num_bytes)
    return plain, target


def _hint(want: str, found: Mapping[str, Path]) -> str | None:
    """Where a file lies deeper than was looked, say how to reach it."""
    deeper = next((name for name in found if name.endswith(f"/{want}")), None)
    if deeper:
        return f"it has '{deeper}': set member: '{deeper.removesuffix(want).rstrip('/')}'"
    return f"it has {', '.join(list(found)[:3])}" if found else None

"""`apt:<package>/<path in the package>`: fetched with apt-get, unpacked, and not installed; needs no root.

Where the machine's own package lists do not know the package (a fresh container has none), lists are fetched into a
folder of our own: the machine is left as it is.
"""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from flywheel.project.config import SourceConfig
from flywheel.project.errors import ConfigError, SourceError
from flywheel.source.base import Job, SkippedError, Source
from flywheel.source.deb import unpack_deb
from flywheel.source.tool import run_tool

log = logging.getLogger("flywheel")

OPTIONS = ["-qq", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20"]


class InPackage(NamedTuple):
    """A package, perhaps with `=version`, and a path in it."""

    package: str
    path: str


class AptSource(Source):
    """A file or folder inside a Debian package."""

    def __init__(self, config: SourceConfig, job: Job) -> None:
        super().__init__(config, job)
        self._unpacked: dict[str, Path] = {}

    def get(self, uri: str) -> Path:
        """Download the package, once for all its files, and unpack what is asked for."""
        place = parse(uri)
        if place.package not in self._unpacked:
            self._unpacked[place.package] = self._download(place.package)
        found = self._unpacked[place.package] / place.path
        if not found.exists():
            raise SourceError(f"the package has no '{place.path}'", where=uri)
        return found

    def probe(self, uri: str) -> str:
        """Ask the machine's package lists."""
        place = parse(uri)
        _need_apt(uri)
        try:
            run_tool(["apt-get", *OPTIONS, "download", "--print-uris", place.package], Path("/"))
        except SkippedError:
            return "apt-get is there (its lists do not know the package; fresh ones are fetched at download)"
        return "apt-get knows the package"

    def _download(self, package: str) -> Path:
        _need_apt(package)
        folder = self.job.new_folder()
        try:
            run_tool(["apt-get", *OPTIONS, "download", package], folder)
        except SkippedError as error:
            log.info("apt-get: %s; trying with fresh package lists", error)
            self._download_with_fresh_lists(package, folder)
        files = sorted(folder.glob("*.deb"))
        if len(files) != 1:
            raise SourceError("apt-get brought no package", where=package)
        self.check_downloaded(files[0], package)
        unpacked = self.job.new_folder()
        unpack_deb(files[0], unpacked, prefix=parse(self.config.uri).path.partition("{file}")[0].rpartition("/")[0])
        return unpacked

    def _download_with_fresh_lists(self, package: str, folder: Path) -> None:
        own = self.job.new_folder()
        (own / "lists" / "partial").mkdir(parents=True)
        (own / "cache" / "archives" / "partial").mkdir(parents=True)
        options = [*OPTIONS, "-o", f"Dir::State::lists={own / 'lists'}", "-o", f"Dir::Cache={own / 'cache'}"]
        try:
            run_tool(["apt-get", *options, "update"], folder)
        except SkippedError as error:  # one list of several may be out of reach; the download will tell
            log.debug("apt-get update: %s", error)
        run_tool(["apt-get", *options, "download", package], folder)


def parse(uri: str) -> InPackage:
    """Take an `apt:` URI apart.

    Raises:
        ConfigError: It has another form.
    """
    found = re.fullmatch(r"apt:([a-z0-9][a-z0-9+.-]*(?::[a-z0-9]+)?(?:=[\w.+:~-]+)?)/(.+)", uri)
    if not found:
        raise ConfigError("not of the form apt:<package>/<path in the package>", where=uri)
    return InPackage(found[1], found[2].strip("/"))


def _need_apt(where: str) -> None:
    if shutil.which("apt-get") is None:
        raise SkippedError("apt-get is not installed (it is on Debian and Ubuntu only)", where=where)

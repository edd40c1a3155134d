"""Says which of a data set's sources could be reached from here, without downloading anything."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from flywheel.project.config import DataConfig
from flywheel.project.errors import SourceError
from flywheel.source.base import Job, shown
from flywheel.source.check import check_download
from flywheel.source.kinds import open_source, with_mirrors


class Reach(NamedTuple):
    """Whether a source can be used, and in a few words how or why not."""

    uri: str
    usable: bool
    detail: str


def probe(data: DataConfig) -> list[Reach]:
    """Ask each source of a data set, mirrors included, in the order in which they would be tried.

    Raises:
        ConfigError: The data set's `download` section cannot be right.
    """
    check_download(data)
    found = []
    first = next(iter(data.download.files), "")
    with tempfile.TemporaryDirectory() as scratch:
        job = Job(scratch=Path(scratch), partial=Path(scratch))
        for config in with_mirrors(data):
            with open_source(config, job) as source:
                try:
                    detail = source.probe(config.uri.replace("{file}", first))
                except SourceError as error:
                    fix = f"; {error.fix}" if error.fix else ""
                    found.append(Reach(shown(config.uri), False, f"{error.what}{fix}"))
                else:
                    found.append(Reach(shown(config.uri), True, detail))
    return found

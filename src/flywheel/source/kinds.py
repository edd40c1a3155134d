"""Which kind of source a URI belongs to, and where a mirror would have the same bytes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from flywheel.project.config import DataConfig, SourceConfig
from flywheel.project.errors import ConfigError, nearest
from flywheel.source.base import Job, Source

KINDS = {
    "https": ("http", "HttpSource"),
    "http": ("http", "HttpSource"),
    "s3": ("cloud", "CloudSource"),
    "gs": ("cloud", "CloudSource"),
    "file": ("file", "FileSource"),
    "pypi": ("pypi", "PypiSource"),
    "apt": ("apt", "AptSource"),
    "bundled": ("bundled", "BundledSource"),
    "espeak": ("espeak", "EspeakSource"),
}
"""Scheme -> module of this package and class; only what is used is imported."""

AT_HAND = ("file", "bundled")  # no mirror is asked for these
MIRROR_VARIABLE = "FLYWHEEL_MIRROR"


def scheme_of(uri: str) -> str:
    """Give the scheme of a URI.

    Raises:
        ConfigError: There is no such kind of source.
    """
    scheme, colon, _ = uri.partition(":")
    if not colon or scheme not in KINDS:
        raise ConfigError(f"no kind of source '{scheme}:'", where=uri, fix=nearest(scheme, KINDS))
    return scheme


def open_source(config: SourceConfig, job: Job) -> Source:
    """Make the source that a configuration describes; the caller closes it."""
    module, name = KINDS[scheme_of(config.uri)]
    kind = getattr(importlib.import_module(f"flywheel.source.{module}"), name)
    return cast(Source, kind(config, job))


def with_mirrors(data: DataConfig) -> Iterator[SourceConfig]:
    """Give a data set's sources in the order to try them: the mirror's, if `FLYWHEEL_MIRROR` is set, come first.

    A mirror has a file at `<mirror>/<data set>/<last part of its URI>`, packed as the URI's, or at
    `<mirror>/<data set>/<file>`, unpacked.
    """
    root = os.environ.get(MIRROR_VARIABLE, "").strip().rstrip("/")
    if root:
        yield from _mirrored(data, root if root.partition(":")[0] in KINDS else f"file:{root}")
    yield from data.download.sources


def _mirrored(data: DataConfig, root: str) -> Iterator[SourceConfig]:
    seen = set()
    for source in data.download.sources:
        scheme = scheme_of(source.uri)
        if scheme in AT_HAND:
            continue
        # What pypi: and apt: promise a checksum for is the package, not the file that a mirror has.
        promised = source.sha256 if KINDS[scheme][0] in ("http", "cloud") else None
        last = source.uri.partition("?")[0].rstrip("/").rpartition("/")[2]
        choices = [replace(source, uri=f"{root}/{data.name}/{last}", sha256=promised)]
        if source.unpack == "gzip" and "{file}" in source.uri:
            choices.append(SourceConfig(f"{root}/{data.name}/{{file}}"))
        for choice in choices:
            if (choice.uri, choice.unpack) not in seen:
                seen.add((choice.uri, choice.unpack))
                yield choice

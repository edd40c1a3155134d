"""`bundled:<package>/<file>`: data that an installed dependency ships; the package is not imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import ClassVar

from flywheel.project.errors import ConfigError, SourceError, nearest
from flywheel.source.base import SkippedError, Source, safe_name, size_text

FOLDERS = {"sklearn": "datasets/data"}
"""Packages that bring data, and the folder of each that holds them."""


class BundledSource(Source):
    """Files of an installed package."""

    local: ClassVar[bool] = True

    def get(self, uri: str) -> Path:
        """Find it, without running any of the package's code."""
        package, name = parse(uri)
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise SkippedError(f"{package} is not installed", where=uri, fix="run `make`")
        path = Path(spec.submodule_search_locations[0]) / FOLDERS[package] / name
        if not path.exists():
            raise SourceError(f"{package} ships no '{name}'", where=uri)
        return path

    def probe(self, uri: str) -> str:
        """See whether it is there."""
        path = self.get(uri)
        return "a folder" if path.is_dir() else size_text(path.stat().st_size)


def parse(uri: str) -> tuple[str, str]:
    """Take a `bundled:` URI apart.

    Raises:
        ConfigError: It has another form, or names a package without data.
    """
    package, _, name = uri.removeprefix("bundled:").partition("/")
    if package not in FOLDERS:
        raise ConfigError(f"no data come with '{package}'", where=uri, fix=nearest(package, FOLDERS))
    if not safe_name(name):
        raise ConfigError("not of the form bundled:<package>/<file>", where=uri)
    return package, name

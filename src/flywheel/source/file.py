"""`file:<path>`: the user's own file or folder, relative to the project, absolute, or from `~`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

from flywheel.project.errors import SourceError
from flywheel.project.params import home_root, project_root
from flywheel.source.base import Source, size_text


class FileSource(Source):
    """A file or folder of this machine; it is copied, never moved or changed."""

    local: ClassVar[bool] = True

    def get(self, uri: str) -> Path:
        """Find it."""
        path = local_path(uri)
        if not path.exists():
            raise SourceError("no such file or folder", where=path)
        if path.is_file():
            self.check_downloaded(path, uri)
        return path

    def probe(self, uri: str) -> str:
        """See whether it is there."""
        path = self.get(uri)
        return "a folder" if path.is_dir() else size_text(path.stat().st_size)


def local_path(uri: str) -> Path:
    """Say where a `file:` URI leads."""
    if uri.startswith("file://"):  # the form of a URL: escaped, and with a host, which can only be this one
        path = Path(unquote(uri.removeprefix("file://").removeprefix("localhost")))
    else:
        path = Path(uri.removeprefix("file:"))
    path = path.expanduser()
    if path.is_absolute():
        return path
    here = project_root() / path
    # A DVC experiment runs in a copy that lacks what git ignores: the user's own data lie in the main checkout.
    return here if here.exists() else home_root() / path

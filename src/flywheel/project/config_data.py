"""What a data set's configuration may hold; a part of `flywheel.project.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from flywheel.project import kind

Node = dict[str, Any]
"""A node with a `_target_`; its place is annotated with the kind of object that `instantiate.build` makes of it."""


@dataclass
class FileConfig:
    """One file that `data/raw/<task>/` must hold: sha256 (hex) and size in bytes, as unpacked; None: not known."""

    sha256: str | None = None
    num_bytes: int | None = None


@dataclass
class SourceConfig:
    """One way to obtain the files.

    Attributes:
        uri: Scheme and place; `{file}` stands for each file's name. Without it, the URI is an archive or a folder.
        unpack: `none`, `gzip`, or `archive` (zip, tar, tar.gz, tar.xz, ...).
        sha256: Of the bytes as downloaded, where they are known.
        member: Folder inside the archive that holds the files.
    """

    uri: str
    unpack: str = "none"
    sha256: str | None = None
    member: str = ""


@dataclass
class DownloadConfig:
    """Files (name -> checksum; empty: whatever the source has) and sources, in order of preference."""

    sources: list[SourceConfig]
    files: dict[str, FileConfig] = field(default_factory=dict)


@dataclass
class ReaderConfig:
    """`name` is the module under `flywheel/reader/` (a DVC dependency); `read` builds the reader."""

    name: str
    read: Annotated[Node, kind.READER]


@dataclass
class DataConfig:
    """Where raw examples come from and how they are read.

    `watch` is a path that DVC hashes: the user's own file or folder for `file:` sources, so that an edit re-runs.
    """

    name: str
    title: str
    licence: str
    download: DownloadConfig
    reader: ReaderConfig
    homepage: str = ""
    watch: str = "src/flywheel/source/__init__.py"

"""What a data set's configuration may hold; a part of `flywheel.project.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from flywheel.project import kind
from flywheel.project.settings import NonNegativeInt

Node = dict[str, Any]
"""A node with a `_target_`; its place is annotated with the kind of object that `instantiate.build` makes of it."""


@dataclass
class FileConfig:
    """A file that `data/raw/<task>/` must hold.

    Attributes:
        sha256: The sha256 of the unpacked file, in hexadecimal; null: not known.
        num_bytes: The size of the unpacked file; null: not known.
    """

    sha256: str | None = None
    num_bytes: NonNegativeInt | None = None


@dataclass
class SourceConfig:
    """One way to obtain the files.

    Attributes:
        uri: Scheme and place. `{file}` stands for each file's name; without it, the URI is that of an archive or a
            folder.
        unpack: How a download is unpacked: `none`, `gzip`, or `archive` (zip, tar, tar.gz, tar.xz, ...).
        sha256: The sha256 of the bytes as downloaded; null: not known.
        member: Folder inside the archive that holds the files; empty: the archive's top.
    """

    uri: str
    unpack: Literal["none", "gzip", "archive"] = "none"
    sha256: str | None = None
    member: str = ""


@dataclass
class DownloadConfig:
    """Which files the data set has, and where they come from.

    Attributes:
        sources: Ways to obtain the files, in order of preference.
        files: The files by name; empty: all that the source has.
    """

    sources: list[SourceConfig]
    files: dict[str, FileConfig] = field(default_factory=dict)


@dataclass
class ReaderConfig:
    """How the files are read.

    Attributes:
        read: The reader.
        name: Decides nothing; older settings have it.
    """

    read: Annotated[Node, kind.READER]
    name: str = ""


@dataclass
class DataConfig:
    """Where raw examples come from and how they are read.

    Attributes:
        name: Name of the data set.
        title: The name for people, in reports.
        licence: The licence of the data.
        download: The files and their sources.
        reader: How the files are read.
        homepage: Web page of the data set.
        watch: A file or folder that DVC watches, so that an edit of it re-runs the pipeline. Where it is not given,
            that is the path of the only source if this is a `file:` (and not of a home folder), and otherwise nothing.
    """

    name: str
    title: str
    licence: str
    download: DownloadConfig
    reader: ReaderConfig
    homepage: str = ""
    watch: str = ""

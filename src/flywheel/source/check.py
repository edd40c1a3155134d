"""Refuses a data set's `download` section before any work starts."""

from __future__ import annotations

import importlib
import re

from flywheel.project.config import DataConfig, SourceConfig
from flywheel.project.errors import ConfigError
from flywheel.source.base import safe_name
from flywheel.source.kinds import KINDS, scheme_of

RECORD = "source.json"


def check_download(data: DataConfig) -> None:
    """Check everything that can be known without asking a source.

    Raises:
        ConfigError: A source, a file name or a checksum cannot be right.
    """
    where = f"data.{data.name}.download"
    if not data.download.sources:
        raise ConfigError("no sources", where=where, fix="add one, e.g. `uri: file:data/own`")
    for name, file in data.download.files.items():
        if not safe_name(name) or name == RECORD:
            raise ConfigError(f"'{name}' cannot be a file's name", where=f"{where}.files")
        _check_sum(file.sha256, f"{where}.files.{name}")
    for number, source in enumerate(data.download.sources):
        _check_source(source, has_files=bool(data.download.files), where=f"{where}.sources[{number}]")


def _check_source(source: SourceConfig, *, has_files: bool, where: str) -> None:
    scheme = scheme_of(source.uri)
    _check_sum(source.sha256, where)
    if "{file}" in source.uri and not has_files:
        raise ConfigError("{file} stands for nothing", where=where, fix="name the files under download.files")
    one_download = scheme in ("pypi", "apt", "espeak")
    if "{file}" in source.uri and source.sha256 and not one_download:
        raise ConfigError("one sha256 for several downloads", where=where, fix="put it under download.files")
    if source.member and source.unpack != "archive":
        raise ConfigError("member is for archives", where=where, fix="set unpack: archive, or remove it")
    if source.member and not safe_name(source.member.strip("/")):
        raise ConfigError(f"member '{source.member}' lies outside the archive", where=where)
    if scheme in ("pypi", "apt", "bundled", "espeak"):
        importlib.import_module(f"flywheel.source.{scheme}").parse(source.uri)
    if KINDS[scheme][0] == "http" and not re.match(r"https?://[^/\s]+/", source.uri):
        raise ConfigError(f"'{source.uri}' is not a web address", where=where)


def _check_sum(sha256: str | None, where: str) -> None:
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ConfigError(f"'{sha256}' is not a sha256", where=where, fix="64 hexadecimal digits, or null")

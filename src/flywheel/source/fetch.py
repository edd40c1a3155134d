"""Brings a data set's files into a folder: out of the store, or from the first source with the promised bytes.

Sources are tried in their order. One that cannot be used here is skipped with its reason; wrong bytes are named with
both sums and thrown away, and the next source is asked for what is still missing.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from flywheel.project.config import DataConfig, FileConfig, SourceConfig
from flywheel.project.digest import sha256_of, sha256_of_json
from flywheel.project.errors import ChecksumError, FlywheelError, SourceError
from flywheel.project.types import Json
from flywheel.source.base import Job, SkippedError, Source, check_sha256, shown, size_text
from flywheel.source.check import RECORD, check_download
from flywheel.source.kinds import MIRROR_VARIABLE, open_source, with_mirrors
from flywheel.source.offer import offer
from flywheel.source.store import Store, copy, write_json

log = logging.getLogger("flywheel")

FROM_STORE = "store"


class Fetched(NamedTuple):
    """What was fetched.

    Attributes:
        record: The content of `source.json`; the same whichever source answered.
        obtained_from: The URI that each file really came from, or `store`.
    """

    record: Json
    obtained_from: dict[str, str]


class Got(NamedTuple):
    """A file that is in the target folder, proved."""

    sha256: str
    num_bytes: int
    uri: str


def fetch(data: DataConfig, target: Path) -> Json:
    """Bring a data set's files, and `source.json`, into a folder.

    Args:
        data: The data set.
        target: Folder to create; an error leaves partial files in it, so give a temporary folder.

    Returns:
        The content of `source.json`.

    Raises:
        ConfigError: The `download` section cannot be right.
        SourceError: No source gave the files; the message has each one's reason.
    """
    return obtain(data, target).record


def obtain(data: DataConfig, target: Path) -> Fetched:
    """Do what `fetch` does, and say also where the bytes really came from."""
    check_download(data)
    target.mkdir(parents=True, exist_ok=True)
    store = Store()
    store.partial.mkdir(parents=True, exist_ok=True)
    key = sha256_of_json(asdict(data.download))[:32]
    with store.work_on(key, data.name) as scratch:
        fetching = _Fetching(data, target, store, Job(scratch, store.partial, asked_for=data.name))
        fetching.look_in_store()
        fetching.ask_sources()
    record = _record(data, fetching.done)
    write_json(target / RECORD, record)
    return Fetched(record, {name: got.uri for name, got in fetching.done.items()})


class _Fetching:
    """One data set on its way into one folder."""

    def __init__(self, data: DataConfig, target: Path, store: Store, job: Job) -> None:
        self.data, self.target, self.store, self.job = data, target, store, job
        self.promised: dict[str, FileConfig] = data.download.files
        self.done: dict[str, Got] = {}

    def missing(self) -> list[str]:
        """Name the promised files that are not there yet."""
        return [name for name in self.promised if name not in self.done]

    def complete(self) -> bool:
        """Say whether everything is there; where no files are named, whatever one source has is everything."""
        return bool(self.done) and not self.missing()

    def look_in_store(self) -> None:
        """Take the files whose promised bytes are in the store."""
        self._copy_out({name: file.sha256.lower() for name, file in self.promised.items() if file.sha256})

    def ask_sources(self) -> None:
        """Ask one source after the other for what is missing."""
        reasons = []
        for config in with_mirrors(self.data):
            if self.complete():
                return
            self._need_space()
            with open_source(config, self.job) as source:
                problems = self._ask(source, config)
            for problem in problems:
                log.warning("%s: skipped %s: %s", self.data.name, shown(config.uri), problem)
            if problems:
                more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
                reasons.append(f"{shown(config.uri)}: {problems[0]}{more}")
        if not self.complete():
            raise SourceError(
                f"no source gave {', '.join(self.missing()) or 'its files'}: {' | '.join(reasons)}",
                where=f"data set {self.data.name}",
                fix=f"go online, or set {MIRROR_VARIABLE} to a folder or server that has it",
            )

    def _ask(self, source: Source, config: SourceConfig) -> list[str]:
        """Ask one source; gives what was wrong with it, or with single files of it."""
        before = set(self.done)
        problems: list[str] = []
        try:
            key = self._listing_key(source, config)
            listed = (self.store.listing(key) if key else None) or {}
            self._copy_out(listed)
            if any(name not in self.done for name in listed):  # something had rotted: all of it anew
                self._undo([name for name in listed if name in self.done])
            for name in [] if self.complete() else self._stand_ins(config, self.missing()):
                problems += self._ask_for(name, config.uri.replace("{file}", name), source, config)
        except SourceError as error:
            problems, key = [_reason(error), *problems], None
        new = {name: got for name, got in self.done.items() if name not in before and got.uri != FROM_STORE}
        unproved = [name for name in new if not self._sum(name)]
        if problems:
            self._undo(unproved)
        elif key and unproved:
            self.store.list_as(key, {name: new[name].sha256 for name in unproved})
        self._say([name for name in new if name in self.done], shown(config.uri))
        return problems

    def _stand_ins(self, config: SourceConfig, names: list[str]) -> list[str]:
        """Give what `{file}` stands for, one after the other; one empty name where it is not used."""
        return names if "{file}" in config.uri else [""]

    def _sum(self, name: str) -> str | None:
        """Give the sha256 that is promised for a file."""
        return self.promised.get(name, FileConfig()).sha256

    def _ask_for(self, name: str, uri: str, source: Source, config: SourceConfig) -> list[str]:
        """Bring one URI, and take every file that it holds."""
        self.job.asked_for = f"{self.data.name} {name}".strip()
        try:
            wanted = [name] if name else self.missing()
            offered = offer(source.get(uri), config, self.promised, wanted, self.job)
        except SkippedError:
            raise
        except SourceError as error:
            return [f"{name}: {_reason(error)}" if name else _reason(error)]
        problems = []
        for file, path in offered.items():
            try:
                self.done[file] = self._take(file, path, source, uri)
            except ChecksumError as error:
                problems.append(f"{file}: {_reason(error)}")
        return problems

    def _take(self, name: str, path: Path, source: Source, uri: str) -> Got:
        """Prove a file and put it into the target folder, through the store unless it is at hand anyway."""
        target, promised = self.target / name, self.promised.get(name, FileConfig())
        if source.local:
            copy(path, target)
            path = target
        sha256, num_bytes = sha256_of(path), path.stat().st_size
        try:
            if promised.sha256:
                check_sha256(sha256, promised.sha256, name)
            if promised.num_bytes not in (None, num_bytes):
                raise ChecksumError(f"has {num_bytes} bytes, promised were {promised.num_bytes}", where=name)
        except ChecksumError:
            path.unlink()
            raise
        if not source.local:
            copy(self.store.put(path, sha256), target)
        return Got(sha256, num_bytes, shown(uri))

    def _undo(self, unproved: list[str]) -> None:
        """Files without a promised sum must all come from one source: parts of two might not fit together."""
        for name in unproved:
            (self.target / name).unlink()
            del self.done[name]

    def _listing_key(self, source: Source, config: SourceConfig) -> str | None:
        """Identify what a source gives now where no sums are promised, so that it need not be downloaded twice."""
        unproved = [name for name in self.promised if not self._sum(name)]
        if source.local or (self.promised and not unproved):
            return None
        uris = [config.uri.replace("{file}", name) for name in self._stand_ins(config, unproved)]
        versions = [config.sha256 or source.validator(uri) for uri in uris]
        return None if None in versions else sha256_of_json([asdict(config), unproved, versions])

    def _copy_out(self, listed: dict[str, str]) -> None:
        """Take files out of the store."""
        taken = [name for name, sha256 in listed.items() if self.store.copy_out(sha256, self.target / name)]
        for name in taken:
            self.done[name] = Got(listed[name], (self.target / name).stat().st_size, FROM_STORE)
        self._say(taken, "the store (downloaded before)")

    def _need_space(self) -> None:
        needed = sum(self.promised[name].num_bytes or 0 for name in self.missing())
        for folder in (self.store.folder, self.target):
            free = shutil.disk_usage(folder).free
            if free < needed:
                what = f"{size_text(needed)} are needed, {size_text(free)} are free"
                raise FlywheelError(what, where=folder, fix="free space")

    def _say(self, names: list[str], origin: str) -> None:
        if names:
            what = names[0] if len(names) == 1 else f"{len(names)} files"
            num_bytes = sum(self.done[name].num_bytes for name in names)
            log.info("%s: %s, %s, from %s", self.data.name, what, size_text(num_bytes), origin)


def _reason(error: SourceError) -> str:
    return error.what + (f"; {error.fix}" if error.fix else "")


def _record(data: DataConfig, done: dict[str, Got]) -> Json:
    """Say what the data set is; nothing here depends on which source answered."""
    sums = {name: done[name].sha256 for name in sorted(done)}
    return {
        "format": 1,
        "name": data.name,
        "title": data.title,
        "licence": data.licence,
        "homepage": data.homepage,
        "uri": shown(data.download.sources[0].uri),
        "sources": [shown(source.uri) for source in data.download.sources],
        "sha256": sums,
        "digest": sha256_of_json(sums),
        "num_bytes": sum(got.num_bytes for got in done.values()),
        "file_num_bytes": {name: done[name].num_bytes for name in sums},
    }

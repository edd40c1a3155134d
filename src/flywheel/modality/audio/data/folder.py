"""Reads recordings whose label is in their path: a folder of files, or one zip or tar archive that holds them."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from flywheel.modality.audio.data.archive import Member, members
from flywheel.modality.audio.data.file import AUDIO_EXTENSIONS, AudioError
from flywheel.project.errors import ConfigError, DataError
from flywheel.project.types import SPLITS, Reader, Split, SplitName, Splits
from flywheel.reader.format.folder import composed
from flywheel.reader.format.value import object_column

CLASS_FOLDERS = r"(?:(?P<split>train|validation|test)/)?(?P<label>[^/]+)/.+"
"""`<class>/x.wav`, or `train/<class>/x.wav` and `test/<class>/x.wav`."""

CHUNK_BYTES = 16 * 1024 * 1024
"""Encoded recordings in one frame at most; decoded and compared they may take ten times as much."""


@dataclass(frozen=True)
class AudioFolderReader(Reader):
    r"""A recording a row, still encoded, in the column `audio`.

    Thousands of small files slow DVC down, so an archive is read as it is. Rows are in the order of the sorted paths
    of a folder, or in the archive's own.

    Attributes:
        path: Folder or archive under the raw folder; `.`: the raw folder itself.
        pattern: Regular expression (Python's) that matches a recording's whole path, `/` between folders. Its group
            `label` is the label; `group` (where there is one) says what must not straddle splits, e.g. the speaker;
            `split` (likewise) is train, validation or test. Recordings that it does not match are bad rows, and so,
            with the default pattern, are those that lie beside the class folders of a split (`train/x.wav`).
        test_pattern: Recordings whose path it matches are the official test split, whatever `pattern` says; None: there
            is no such split.
        use_groups: Whether the rows get the group that `pattern` finds.
        extensions: File names that count as recordings (in any case); hidden files never do.
    """

    path: str = "."
    pattern: str = CLASS_FOLDERS
    test_pattern: str | None = None
    use_groups: bool = True
    extensions: Sequence[str] = AUDIO_EXTENSIONS

    def __post_init__(self) -> None:
        """Refuse patterns that are none."""
        where = "data.reader.read"
        for name in ("pattern", "test_pattern"):
            try:
                found = re.compile(getattr(self, name) or "")
            except re.error as error:
                raise ConfigError(f"{name} is not a regular expression: {error}", where=where) from None
            if name == "pattern" and "label" not in found.groupindex:
                raise ConfigError("pattern has no group `label`", where=where, fix="write (?P<label>...)")

    def read(self, raw_dir: Path) -> Splits:
        """List the recordings; their bytes are read when a chunk is asked for.

        Raises:
            DataError: There is no such folder or archive, or it holds no recordings for train.
        """
        root = raw_dir / self.path
        counts = dict.fromkeys(SPLITS, 0)
        places = Counter(self._place(member.name) for member in members(root, self.extensions))
        has_splits = self.pattern == CLASS_FOLDERS and _has_split_folders(places)
        unmatched = 0
        for place, number in places.items():
            counts[place.split] += number
            unmatched += number if place.problem(has_splits) else 0
        if unmatched == sum(counts.values()):
            why = f"none of its {unmatched} recordings has a path like {self.pattern}"
            if not unmatched:
                why = f"holds no recordings ({', '.join(self.extensions)})"
            fix = "put each class's recordings into a folder of its name, or fix `pattern` of the reader"
            raise DataError(root, None, why, fix=fix)
        if not counts["train"]:
            raise DataError(root, None, "holds no recordings for train", fix="fix the reader's patterns")
        return {name: self._split(root, name, count, has_splits) for name, count in counts.items() if count}

    def _split(self, root: Path, name: str, num_rows: int, has_splits: bool) -> Split:
        def between(first: int, end: int, rows: int) -> Iterator[pd.DataFrame]:
            return self._chunks(root, name, rows, has_splits=has_splits, first=first, end=end)

        # A tar archive has no list of what it holds: it is read from its beginning.
        listed = root.is_dir() or zipfile.is_zipfile(root)
        whole = partial(self._chunks, root, name, has_splits=has_splits)
        return Split(num_rows, whole, str(root), between if listed else None)

    def _chunks(
        self, root: Path, split: str, num_rows: int, *, has_splits: bool, first: int = 0, end: int | None = None
    ) -> Iterator[pd.DataFrame]:
        """Read a split, or the rows from `first` to before `end`.

        A frame ends after `num_rows` recordings or `CHUNK_BYTES`, whichever comes first.
        """
        rows: list[dict[str, Any]] = []
        size, row = 0, -1
        for member in members(root, self.extensions):
            place = self._place(member.name)
            if place.split != split:
                continue
            row += 1
            if row == end:
                break
            if row < first:
                continue
            rows.append(_row(member, place, place.problem(has_splits)))
            size += len(rows[-1]["audio"] or b"")
            if len(rows) >= num_rows or size >= CHUNK_BYTES:
                yield self._frame(rows, first)
                first, rows, size = first + len(rows), [], 0
        if rows:
            yield self._frame(rows, first)

    def _frame(self, rows: list[dict[str, Any]], first: int) -> pd.DataFrame:
        columns = {name: object_column(row[name] for row in rows) for name in rows[0]}
        frame = pd.DataFrame(columns, index=pd.RangeIndex(first, first + len(rows)))
        unwanted = [] if self.use_groups and "group" in re.compile(self.pattern).groupindex else ["group"]
        if not any(row["error"] for row in rows):
            unwanted.append("error")
        return frame.drop(columns=unwanted)

    def _place(self, name: str) -> _Place:
        name = composed(name)
        found = re.fullmatch(self.pattern, name)
        groups = found.groupdict() if found else {}
        official = self.test_pattern is not None and re.fullmatch(self.test_pattern, name)
        given = "test" if official else groups.get("split") or "train"
        split = next((one for one in SPLITS if one == given), None)
        if split is None:
            why = f"its split is '{given}', not {', '.join(SPLITS)}"
            raise DataError(name, None, why, fix="fix the group `split` of the reader's pattern")
        return _Place(split, groups.get("label"), groups.get("group"), bool(groups.get("split")))


@dataclass(frozen=True)
class _Place:
    """What a path says: the split (and whether the pattern found it), and label and group where they are known."""

    split: SplitName
    label: str | None
    group: str | None
    in_split: bool

    def problem(self, has_splits: bool) -> str | None:
        """Why the recording has no label, None where it has one.

        Args:
            has_splits: Whether folders named train, validation and test are splits: then none of them is a class.
        """
        if self.label is None:
            return "its path does not match the reader's pattern"
        if has_splits and not self.in_split and self.label in SPLITS:
            return f"lies in the folder '{self.label}' of a split, not in a class folder"
        return None


def _has_split_folders(places: Iterable[_Place]) -> bool:
    """Whether some folder named like a split holds class folders, or there are no other folders."""
    return any(place.in_split for place in places) or all(place.label in SPLITS for place in places)


def _row(member: Member, place: _Place, problem: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "audio": None,
        "label": None if problem else place.label,
        "group": place.group,
        "file": member.name,
        "error": None,
    }
    try:
        row["audio"] = member.read()
    except AudioError as error:
        row["error"] = str(error)
    if problem:
        row["error"] = problem
    return row

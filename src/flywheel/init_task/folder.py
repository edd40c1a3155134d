"""Guesses a task from a folder of class-named folders: pictures, recordings or texts."""

from __future__ import annotations

import functools
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from flywheel.init_task.blocks import SEED
from flywheel.init_task.classes import check_classes, check_rows
from flywheel.init_task.guess import CLASS, DRAWN_SHARES, Guess, counted, listed
from flywheel.init_task.medium import Medium
from flywheel.project.companion import modules_of
from flywheel.project.errors import DataError
from flywheel.reader.format.folder import composed, list_files
from flywheel.reader.table import SPLIT_WORDS

MAX_LOOKED_AT = 200
TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".gz")


@functools.cache
def media() -> dict[str, Medium]:
    """The kinds of files that make an example, by modality."""
    return {name: module.medium() for name, module in modules_of("guess").items() if hasattr(module, "medium")}


@dataclass
class _Files:
    """The files of one medium: by class for each split folder (`.`: there are none), and those in no class."""

    by_split: dict[str, dict[str, list[Path]]] = field(default_factory=dict)
    loose: list[Path] = field(default_factory=list)

    @property
    def num_files(self) -> int:
        """All that lie in a class's folder."""
        return sum(len(files) for classes in self.by_split.values() for files in classes.values())


def guess_folder(folder: Path, modality: str | None) -> Guess:
    """Guess a task.

    Args:
        folder: Holds a folder a class, or `train` and `test` folders that do.
        modality: `image`, `audio` or `text`, where the user said it.

    Raises:
        DataError: It holds nothing to learn from, several kinds of files, or one class.
    """
    paths = _listed(folder)
    splits = _splits(paths)
    found = {name: _sorted_in(paths, splits, medium.extensions) for name, medium in media().items()}
    name = _modality(folder, found, paths, modality)
    files, medium = found[name], media()[name]
    if not files.num_files:
        why = f"its {counted(len(files.loose), medium.noun)} are in no class folder"
        raise DataError(folder, None, why, fix=f"put each class's {medium.noun}s into a folder of its name")
    if files.loose and splits and medium.loose_are_bad:
        raise DataError(folder / files.loose[0], None, "is in no class folder", fix="move it into one, or away")
    guess = Guess(name, CLASS, {})
    guess.note("files", counted(files.num_files, medium.noun), "by their endings")
    guess.note("modality", name, f"you said it, or most files are {medium.noun}s" if modality else "the files' endings")
    num_others = len(paths) - files.num_files - len(files.loose)
    guess.num_rows = files.num_files  # until it is known which are broken
    broken = _look(guess, folder, files, medium)
    _say_classes(guess, folder, files, medium, broken)
    _say_left_out(guess, files, medium, num_others)
    guess.reader = medium.read(splits)
    return guess


def _listed(folder: Path) -> list[Path]:
    """All files by relative path, in order.

    Raises:
        DataError: There are none, or one whose name is not text.
    """
    found = list_files(folder)
    if not found:
        raise DataError(folder, None, "is an empty folder", fix="name a table, or a folder with a folder a class")
    return [Path(name) for name in found]


def _splits(paths: list[Path]) -> dict[str, str]:
    """Folder of each split (`train` -> `training`) where the top folders are splits; empty: they are classes."""
    tops = sorted({path.parts[0] for path in paths if len(path.parts) > 1})
    names = {SPLIT_WORDS.get(top.lower(), ""): top for top in tops}
    return names if "" not in names and "train" in names and len(names) == len(tops) else {}


def _sorted_in(paths: list[Path], splits: dict[str, str], extensions: Sequence[str]) -> _Files:
    files = _Files()
    depth = 1 if splits else 0
    back = {folder: split for split, folder in splits.items()}
    for path in paths:
        if path.suffix.lower() not in extensions:
            continue
        if len(path.parts) < depth + 2:
            files.loose.append(path)
            continue
        split = back[path.parts[0]] if splits else "."
        files.by_split.setdefault(split, {}).setdefault(composed(path.parts[depth]), []).append(path)
    return files


def _modality(folder: Path, found: dict[str, _Files], paths: list[Path], wanted: str | None) -> str:
    """The kind of file that the examples are.

    Raises:
        DataError: There are none, or pictures and recordings.
    """
    if wanted is not None:
        if not (found[wanted].num_files or found[wanted].loose):
            why = f"holds no {media()[wanted].noun}s ({', '.join(media()[wanted].extensions)})"
            raise DataError(folder, None, why, fix="give another --modality, or none")
        return wanted
    numbers = {name: files.num_files + len(files.loose) for name, files in found.items()}
    held = sorted((name for name, number in numbers.items() if number), key=lambda name: media()[name].lies_beside)
    mixed = sorted((name for name in held if not media()[name].lies_beside), key=lambda name: -numbers[name])
    if len(mixed) > 1:
        all_of_them = " and ".join(counted(numbers[name], media()[name].noun) for name in mixed)
        folders = "two folders" if len(mixed) == 2 else "folders"
        fix = f"split them into {folders}, or give --modality {' or '.join(mixed)} to leave the others out"
        raise DataError(folder, None, f"mixes {all_of_them}", fix=fix)
    if held:
        return held[0]
    if any(path.suffix.lower() in TABLES for path in paths):
        example = next(path for path in paths if path.suffix.lower() in TABLES)
        raise DataError(folder, None, "is a folder of tables", fix=f"name one of them: --from {folder / example}")
    endings = Counter(path.suffix.lower() or "no ending" for path in paths)
    shown = listed([f"{number} {ending}" for ending, number in endings.most_common(3)])
    *nouns, last = sorted(f"{medium.noun}s" for medium in media().values())
    why = f"holds no {', '.join(nouns)} or {last} ({shown})"
    raise DataError(folder, None, why, fix="name a table or such a folder")


def _look(guess: Guess, folder: Path, files: _Files, medium: Medium) -> dict[str, tuple[int, int]]:
    """Read files of every split, all where there are few, and give how many it has and may lose in preprocessing.

    Where all were read, the bad ones are taken out of `files`; of a sample the upper end of Wilson's interval counts.
    """
    most = MAX_LOOKED_AT // len(files.by_split)
    held = {split: [path for paths in classes.values() for path in paths] for split, classes in files.by_split.items()}
    chosen = {
        split: random.Random(SEED).sample(paths, most) if len(paths) > most else paths for split, paths in held.items()
    }
    bad = medium.look(guess, [folder / path for paths in chosen.values() for path in paths])
    broken = {}
    for split, paths in chosen.items():
        found = {path for path in paths if folder / path in bad}
        is_whole = len(paths) == len(held[split])
        share = len(found) / len(paths) if is_whole else _at_most(len(found), len(paths))
        broken[split] = (len(held[split]), round(share * len(held[split])))
        if is_whole:
            classes = files.by_split[split]
            files.by_split[split] = {
                name: good for name, paths in classes.items() if (good := [one for one in paths if one not in found])
            }
    return broken


def _at_most(found: int, looked: int) -> float:
    """Upper end of the 99% interval of a share (Wilson, 1927), of which `found` of `looked` were seen; 0 if none."""
    z, share = 2.58, found / looked
    spread = z * math.sqrt(share * (1 - share) / looked + z * z / (4 * looked * looked))
    return (share + z * z / (2 * looked) + spread) / (1 + z * z / looked) if found else 0.0


def _say_classes(guess: Guess, folder: Path, files: _Files, medium: Medium, broken: dict[str, tuple[int, int]]) -> None:
    parts = files.by_split
    train = parts.get("train", parts.get(".", {}))
    counts = pd.Series({name: len(held) for name, held in train.items()}).sort_values(ascending=False, kind="stable")
    check_classes(guess, folder, "it", counts, is_whole=True, numeric=False)
    shown = listed([f"{name} ({number})" for name, number in counts.items()], 5)
    guess.note("kind", counted(guess.num_classes, "class"), f"a folder each: {shown}")
    for split, classes in parts.items():
        strange = sorted(set(classes) - set(train))
        if strange:
            why = f"class '{strange[0]}' is in {split} but not in train"
            raise DataError(folder, None, why, fix=f"add {medium.noun}s of it to train, or remove it")
    if "." in parts:
        guess.note("split", DRAWN_SHARES, "no train and test folders: drawn, seeded, alike in classes")
    else:
        names = sorted(parts, key=("train", "validation", "test").index)
        guess.note("split", " / ".join(names), "by the folders' names")
    rare = counts.sort_values().index[: len(counts) - guess.num_classes]
    num_loose = len(files.loose) if medium.loose_are_bad else 0
    kept, shares = 0, []
    for split, classes in parts.items():
        num_files, num_broken = broken[split]
        num_dropped = num_broken + num_loose + sum(len(classes.get(name, ())) for name in rare)
        kept += num_files + num_loose - num_dropped
        shares.append(num_dropped / (num_files + num_loose))
    check_rows(guess, folder, kept + num_loose, num_loose, share=max(shares))


def _say_left_out(guess: Guess, files: _Files, medium: Medium, num_others: int) -> None:
    if files.loose and not medium.loose_are_bad:
        guess.warn(f"{counted(len(files.loose), medium.noun)} in no class folder left out, such as {files.loose[0]}.")
    if num_others:
        guess.warn(f"{counted(num_others, 'file')} left out: by the ending, no {medium.noun}s.")

"""Makes a task in `conf/` from a user's file or folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from flywheel.init_task.files import check_free, check_name, place_of, write_task
from flywheel.init_task.guess import CLASS, NUMBER, Guess, Wanted
from flywheel.init_task.recipe import check, recipe_of, undecided
from flywheel.init_task.text_of import data_text, task_text
from flywheel.project.companion import modules_of
from flywheel.project.errors import DataError, FlywheelError, nearest
from flywheel.project.params import project_root

NOTHING_SAID = Wanted()


@dataclass(frozen=True)
class NewTask:
    """A task that was, or would be, written.

    Attributes:
        name: The name of the task.
        guess: The guesses, with their reasons.
        files: Path under the project and text of each file of its own.
    """

    name: str
    guess: Guess
    files: dict[str, str]


def init_task(
    name: str,
    source: Path,
    *,
    wanted: Wanted = NOTHING_SAID,
    force: bool = False,
    dry_run: bool = False,
) -> NewTask:
    """Look at data, guess a task, and write it.

    Args:
        name: The name of the new task.
        source: A table, or a folder with a folder a class. The data stay there.
        wanted: The user's options.
        force: Whether a task of this name is replaced.
        dry_run: Whether nothing is written.

    Raises:
        FlywheelError: The data cannot be learnt from as they are, or the name is taken; nothing is written then.
    """
    root = project_root()
    check_name(name)
    check_free(root, name, force=force)
    _check_words(wanted.modality, tuple(modules_of("guess")), "--modality")
    _check_words(wanted.kind, (CLASS, NUMBER), "--kind")
    path = _readable(source)
    path, test = train_and_test(path) or (path, None)
    place = place_of(root, path, name)
    guess = _guess(path, wanted, test)
    if test is not None:
        guess.note("file", path.name, f"learnt from; {test.name}, beside it, is for `flywheel predict`")
    check(guess, path)
    if (recipe := recipe_of(guess)).why:
        guess.note("model", recipe.model, recipe.why)
    if few := undecided(guess):
        guess.warn(few)
    data, task = data_text(name, guess, place), task_text(name, guess, place)
    texts = {f"conf/data/{name}.yaml": data, f"conf/task/{name}.yaml": task}
    if not dry_run:
        write_task(root, name, task, data)
    return NewTask(name, guess, texts)


def _readable(source: Path) -> Path:
    """The path, which is there and may be read."""
    path = source.expanduser()
    if not path.exists():
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, beside) if beside else ""
        raise DataError(source, None, "no such file or folder", fix=near if "did you" in near else "check the path")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise DataError(source, None, "may not be read", fix=f"make it readable: chmod u+r {source}")
    return path


def _guess(path: Path, wanted: Wanted, test: Path | None) -> Guess:
    options = ("target", "kind", "user", "item", "time", "group", "weight")
    about_columns = [f"--{name}" for name in options if getattr(wanted, name) is not None]
    if path.is_dir():
        if about_columns:
            fix = f"leave out {' and '.join(about_columns)}"
            raise FlywheelError("is a folder: its classes are the folders in it", where=path, fix=fix)
        if wanted.modality is not None and not hasattr(modules_of("guess")[wanted.modality], "medium"):
            raise FlywheelError(f"is a folder, not {wanted.modality}", where=path, fix="name a table")
        from flywheel.init_task.folder import guess_folder

        return guess_folder(path, wanted.modality)
    if wanted.modality is not None and not getattr(modules_of("guess")[wanted.modality], "IN_TABLES", False):
        raise FlywheelError(f"is a file, not a folder of class-named folders ({wanted.modality})", where=path)
    _check_ending(path)
    from flywheel.init_task.sample import read_sample
    from flywheel.init_task.table import guess_table

    sample = read_sample(path)
    if test is not None and wanted.target is None:
        lacks = [name for name in sample.frame.columns if name not in read_sample(test).frame.columns]
        wanted = replace(wanted, target=lacks[0], why=f"{test.name} lacks it alone") if len(lacks) == 1 else wanted
    return guess_table(sample, wanted)


def train_and_test(folder: Path) -> tuple[Path, Path] | None:
    """The tables `train` and `test` of a folder that has both, as competitions give them; None: it has not."""
    from flywheel.reader.format.table_file import is_table

    if not folder.is_dir():
        return None
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and is_table(file)]
    tables = {file.name.lower().partition(".")[0]: file for file in files}
    return (tables["train"], tables["test"]) if {"train", "test"} <= tables.keys() else None


def _check_ending(path: Path) -> None:
    """Refuse what is not a table by its name; no ending, or .txt or .dat, may be any text table."""
    from flywheel.reader.format.table_file import LOOSE_KINDS, is_table

    if is_table(path) or path.suffix.lower() in LOOSE_KINDS:
        return
    fixes = {
        ".json": "save it as JSON lines: one object a line, named .jsonl",
        ".xlsx": "save the sheet as CSV",
        ".xls": "save the sheet as CSV",
        ".zip": "unpack it, and name what is in it",
    }
    fix = fixes.get(path.suffix.lower(), "give .csv, .tsv, .parquet, .jsonl, or a folder of class-named folders")
    raise DataError(path, None, f"files of type '{path.suffix}' are not supported", fix=fix)


def _check_words(word: str | None, known: object, option: str) -> None:
    names = [str(name) for name in known]  # type: ignore[attr-defined]
    if word is not None and word not in names:
        raise FlywheelError(f"no '{word}'", where=option, fix=nearest(word, names))

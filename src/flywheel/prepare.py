"""Processed data for any settings, made once: what the Hydra application and its sweeps train on.

`dvc repro` keeps one set of processed data a task. A sweep may ask for others (`preprocess.image_size=...`), from many
processes at once: each is made once, under a lock, in a cache whose key is all that decides its content.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flywheel.project.config import SAME_DATA, TaskConfig
from flywheel.project.digest import sha256_of, sha256_of_code, sha256_of_json
from flywheel.project.params import project_root, state_dir
from flywheel.project.whole import whole_file, whole_folder

log = logging.getLogger("flywheel")

CODE = ("src/flywheel/source", "src/flywheel/reader", "src/flywheel/preprocessor")


def processed_for(task: TaskConfig) -> Path:
    """Give a folder with the task's processed data, making them (and fetching the raw data) where they are missing.

    Raises:
        FlywheelError: The data cannot be fetched or preprocessed.
    """
    from filelock import FileLock

    from flywheel.preprocessor.pipeline.run import preprocess

    root = project_root()
    key = processed_key(task)
    stage_output = root / "data/processed" / task.name
    if _is_noted(task.name, key, stage_output):
        return stage_output
    target = state_dir() / "cache" / "processed" / key
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not target.is_dir():
            raw = _raw_for(task)
            log.info("preprocessing %s for these settings (kept in %s)", task.name, target)
            with whole_folder(target) as part:
                preprocess(task, raw, _feedback(task), part)
    return target


def processed_key(task: TaskConfig) -> str:
    """Hash all that decides processed data: settings of data and preprocess, local files, feedback, code."""
    root = project_root()
    local = [_listing(root / task.data.watch), _listing(_feedback(task))]
    preprocess = {key: value for key, value in asdict(task.preprocess).items() if key not in SAME_DATA}
    settings = [asdict(task.data), preprocess, local, sha256_of_code(root, CODE)]
    return sha256_of_json(settings)[:16]


def note_processed(task: TaskConfig, folder: Path) -> None:
    """Note what the preprocess stage's output was made with, so that the application can use it."""
    with whole_file(_note(task.name)) as part:
        part.write_text(json.dumps({"key": processed_key(task), "meta": sha256_of(folder / "meta.json")}) + "\n")


def _is_noted(name: str, key: str, folder: Path) -> bool:
    try:
        note = json.loads(_note(name).read_text())
        return bool(note == {"key": key, "meta": sha256_of(folder / "meta.json")})
    except (OSError, ValueError):
        return False


def _note(name: str) -> Path:
    return state_dir() / "processed" / f"{name}.json"


def _raw_for(task: TaskConfig) -> Path:
    from filelock import FileLock

    from flywheel.source.fetch import fetch

    key = sha256_of_json([asdict(task.data), _listing(project_root() / task.data.watch)])[:16]
    target = state_dir() / "cache" / "raw" / key
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not target.is_dir():
            with whole_folder(target) as part:
                fetch(task.data, part)
    return target


def _feedback(task: TaskConfig) -> Path:
    return project_root() / "data/feedback" / task.name


def _listing(place: Path) -> list[Any]:
    """Names, sizes and times of a file, or of a folder's files: cheap, and changes when they do."""
    files = sorted(place.rglob("*")) if place.is_dir() else [place] if place.is_file() else []
    found = [(file, file.stat()) for file in files if file.is_file()]
    return [[file.as_posix(), stat.st_size, stat.st_mtime_ns] for file, stat in found]

"""The loop closed on default tasks: traffic changes, the model follows, and what it could before it still can.

A copy of the project serves the task over HTTP to eight clients. Then the traffic changes: of fashion's pictures a
third each is turned by a quarter, inverted, or inverted and noisy; neutral tweets get words that nobody knew before,
which make them negative or positive. Clients say what is right of some of it (made of train rows), and `flywheel loop`
does the rest, while requests go on. Accuracy on changed traffic is measured, before and after, on other rows (made of
test rows) that nobody says anything about. Nothing of the project itself is changed.
Run: python -m bench loop, or loop:fashion for one task (the other's row stays as it was measured).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.closed_loop import Closed, Row, Traffic, close_the_loop
from bench.record import Table
from flywheel.monitor import making
from flywheel.project.instantiate import build
from flywheel.project.kind import READER
from flywheel.project.params import load_task

ROOT = Path(__file__).parent.parent
TASKS = ("fashion", "tweets")
NUM_CLEAN, NUM_MEASURED = 1000, 2000
# Rows that clients correct. With 4,000 of fashion the gate refused: the test set could not rule out a loss of more than
# its margin (docs/loop.md).
NUM_CHANGED = {"fashion": 2000, "tweets": 4000}
STAGES = ("download", "preprocess", "train")  # whose outputs are copied
SLANG = {"negative": ("krag", "mungly", "blortish"), "positive": ("zorpy", "glimmy", "sperfect")}


def main(only: str | None = None) -> Table:
    """Close the loop of each task, or of one: then the other rows are those of the kept table."""
    columns = ["task", "alarm before, after the change", "changed traffic: before", "after", "test set: difference",
               "interval", "gate", "versions that answered", "requests meanwhile", "not answered"]  # fmt: skip
    table = Table("loop", "Traffic changes, and the model follows", columns)
    changes = {"fashion": fashion, "tweets": tweets}
    for task in TASKS:
        if only and task != only:
            table.keep(task)
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "project"
            copy_project(task, folder)
            table.add(_row(task, close_the_loop(folder, task, changes[task]())))
    return table


def copy_project(task: str, folder: Path) -> None:
    """Copy what is there of one task, and build and register it in a store of its own."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "tmp", "cache", "config.local")
    for name in ("src", "conf", ".dvc"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in (".gitignore", ".dvcignore", "dvc.yaml"):
        shutil.copy(ROOT / name, folder / name)
    for name in (f"data/raw/{task}", f"data/processed/{task}", f"artifacts/{task}/model"):
        shutil.copytree(name, folder / name)
    shutil.copy("dvc.lock", folder)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "conf/config.yaml").write_text(f"defaults:\n  - task@tasks.{task}: {task}\n  - _self_\n")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "DVC_", "FLYWHEEL_"))}
    for words in (
        (sys.executable, "-m", "flywheel.command.cli", "params"),
        ("git", "init", "-q"),
        # Its cache is new, and DVC makes again what it does not hold: what was copied goes there first.
        (sys.executable, "-m", "dvc", "commit", "-q", "-f", *(f"{stage}@{task}" for stage in STAGES)),
        (sys.executable, "-m", "dvc", "repro", "-q", f"register@{task}"),
    ):
        subprocess.run(words, cwd=folder, env={**kept, "PYTHONPATH": str(folder / "src")}, check=True)


def fashion() -> Traffic:
    """Pictures that are turned, inverted or noisy."""

    def changed(rows: list[tuple[Row, str]]) -> list[tuple[Row, str]]:
        return [({"image": _corrupted(np.array(row["image"]), place).tolist()}, label)
                for place, (row, label) in enumerate(rows)]  # fmt: skip

    test = _rows("fashion", "test", NUM_CLEAN + NUM_MEASURED)
    return Traffic(
        test[:NUM_CLEAN], changed(_rows("fashion", "train", NUM_CHANGED["fashion"])), changed(test[NUM_CLEAN:])
    )


def tweets() -> Traffic:
    """Neutral tweets that new words make negative or positive."""

    def neutral(label: str) -> bool:
        return label == "neutral"

    def changed(rows: list[tuple[Row, str]]) -> list[tuple[Row, str]]:
        random, found = np.random.default_rng(0), []
        for place, (row, _) in enumerate(rows):
            label = ("negative", "positive")[place % 2]
            words = str(row["text"]).split()
            words.insert(int(random.integers(0, len(words) + 1)), str(random.choice(SLANG[label])))
            found.append(({"text": " ".join(words)}, label))
        return found

    clean = _rows("tweets", "test", NUM_CLEAN)
    learnt = _rows("tweets", "train", NUM_CHANGED["tweets"], neutral)
    return Traffic(clean, changed(learnt), changed(_rows("tweets", "test", NUM_MEASURED, neutral)))


def _row(task: str, found: Closed) -> list[Any]:
    decision = found.decision
    gap = decision["interval"] or [float("nan")] * 2
    return [
        task, f"{'yes' if found.calm else 'no'}, {'yes' if found.alarmed else 'no'}", f"{found.before:.3f}",
        f"{found.after:.3f}", f"{decision['difference'] or 0:+.4f}", f"{gap[0]:+.4f} to {gap[1]:+.4f}",
        "promoted" if decision["promoted"] else "refused", ", ".join(map(str, found.versions)), found.num_requests,
        len(found.failures),
    ]  # fmt: skip


def _rows(
    name: str, split: str, number: int, wanted: Callable[[str], bool] = lambda label: True
) -> list[tuple[Row, str]]:
    """Raw rows of a processed split with their labels, as a client has them."""
    splits = build(load_task(name).data.reader.read, READER, where="data.reader.read").read(Path("data/raw") / name)
    numbers = making.rows_of(Path("data/processed") / name / f"{split}.safetensors")
    numbers = np.random.default_rng(0).permutation(numbers)
    found: list[tuple[Row, str]] = []
    for frame in making.raw_rows(split, splits, Path("data/feedback") / name, numbers):
        inputs = [column for column in ("image", "text") if column in frame.columns]
        for row in frame.to_dict("records"):
            if wanted(str(row["label"])):
                found.append(({key: _plain(row[key]) for key in inputs}, str(row["label"])))
    order = np.random.default_rng(1).permutation(len(found))[:number]
    return [found[place] for place in order]


def _corrupted(picture: Any, place: int) -> Any:
    noise = np.random.default_rng(place).integers(0, 60, picture.shape)
    kinds = (np.rot90(picture), 255 - picture, 255 - np.clip(picture + noise, 0, 255))
    return kinds[place % 3]


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value

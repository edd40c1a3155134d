"""The whole circle on small tasks, through HTTP, the command line and DVC: traffic changes, and the model follows.

The same on `fashion` and `tweets` is `python -m bench loop`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bench.closed_loop import Closed, Traffic, close_the_loop
from safetensors.numpy import load_file
from tests import forked

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("closed_loop"), pytest.mark.timeout(1800)]

DIGITS = """
trainer:
  max_epochs: 15
register:
  margin: 0.03   # 359 test rows tell no more
  baseline: warn
feedback:
  max_share: 0.4
  max_class_share: 1.0
"""
SLANG_DATA = """
name: slang
title: Opinions, made up for this test
licence: Apache-2.0
download:
  sources:
    - uri: file:slang.csv
reader:
  name: table
  read:
    _target_: flywheel.reader.table.TableReader
    path: slang.csv
    label_column: opinion
    columns: [text]
"""
SLANG_TASK = """# @package _global_
defaults:
  - /data: slang
  - /preprocess: text
  - /model: bag_of_embeddings
  - /augment: none
  - /loss: cross_entropy
  - /optimizer: adam
  - /scheduler: constant
  - /trainer: default
  - /metric: classification
  - /evaluate: text
  - /export: onnx
  - /register: accuracy
  - _self_
name: slang
seed: 0
fold: null
optimizer:
  lr: 1e-2
trainer:
  max_epochs: 8
register:
  margin: 0.03
  baseline: warn
"""
KNOWN = {"good": ("great", "lovely", "superb", "pleasant"), "bad": ("awful", "dreadful", "poor", "nasty")}
NEW = {"good": ("zorpy", "glimmy"), "bad": ("krag", "mungly")}
FILLER = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("l", "n", "ss", "m")]


def opinions(number: int, words: dict[str, tuple[str, ...]], seed: int) -> list[tuple[str, str]]:
    """Texts with one telling word among others that tell nothing."""
    random = np.random.default_rng(seed)
    found = []
    for place in range(number):
        label = ("good", "bad")[place % 2]
        row = [*random.choice(FILLER, 7), str(random.choice(words[label]))]
        found.append((" ".join(random.permutation(row)), label))
    return found


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with `digits` and `slang`, each registered and in service."""
    folder = tmp_path_factory.mktemp("closed") / "a project"
    folder.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "tmp", "cache", "config.local")
    for name in ("src", "conf", ".dvc"):
        shutil.copytree(root / name, folder / name, ignore=ignore)
    for name in (".gitignore", ".dvcignore", "dvc.yaml"):
        shutil.copy(root / name, folder / name)
    forked.lend_python(folder)
    with (folder / "conf/task/digits.yaml").open("a") as stream:
        stream.write(DIGITS)
    (folder / "conf/data/slang.yaml").write_text(SLANG_DATA)
    (folder / "conf/task/slang.yaml").write_text(SLANG_TASK)
    pd.DataFrame(opinions(1600, KNOWN, 0), columns=["text", "opinion"]).to_csv(folder / "slang.csv", index=False)
    lines = "".join(f"  - task@tasks.{name}: {name}\n" for name in ("digits", "slang"))
    (folder / "conf/config.yaml").write_text(f"defaults:\n{lines}  - _self_\n")
    for words in (
        [sys.executable, "-m", "flywheel.command.cli", "params"],
        ["git", "init", "-q"],
        [sys.executable, "-m", "dvc", "repro", "-q"],
    ):
        dropped = ("MLFLOW_", "DVC_", "FLYWHEEL_", "PYTEST_")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        environment["PYTHONPATH"] = str(folder / "src")
        done = forked.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.fixture
def close(built: Path) -> Callable[[str, Traffic], Closed]:
    """Close the loop of a task."""

    def run(task: str, traffic: Traffic) -> Closed:
        return close_the_loop(built, task, traffic)

    return run


def corrupted(picture: np.ndarray[Any, Any], place: int) -> np.ndarray[Any, Any]:
    """Turned by a quarter, inverted, or noisy and inverted."""
    noise = np.random.default_rng(place).integers(0, 60, picture.shape)
    kinds = (np.rot90(picture), 255 - picture, 255 - np.clip(picture.astype(int) + noise, 0, 255))
    return np.asarray(kinds[place % 3]).astype(np.uint8)


def test_pictures_that_change_are_noticed_and_learnt(close: Callable[..., Closed], built: Path) -> None:
    train, test = (load_file(built / f"data/processed/digits/{name}.safetensors") for name in ("train", "test"))

    def rows(split: dict[str, np.ndarray[Any, Any]], change: Callable[..., Any]) -> list[tuple[dict[str, Any], str]]:
        pairs = enumerate(zip(split["image"], split["target"], strict=True))
        return [({"image": change(picture[0], place).tolist()}, str(label)) for place, (picture, label) in pairs]

    traffic = Traffic(rows(test, lambda picture, _: picture), rows(train, corrupted)[:600], rows(test, corrupted))
    found = close("digits", traffic)
    assert (found.calm, found.alarmed) == (0, 1)
    assert "inputs have drifted" in found.said
    assert found.turn.startswith("retrain: promoted (champion 1 -> 2)")
    assert found.versions == [1, 2]
    assert found.failures == []
    assert found.num_requests > 100
    assert found.after - found.before > 0.2
    assert found.decision["difference"] >= -0.03


def test_words_that_nobody_knew_are_noticed_and_learnt(close: Callable[..., Closed]) -> None:
    def rows(number: int, words: dict[str, tuple[str, ...]], seed: int) -> list[tuple[dict[str, str], str]]:
        return [({"text": text}, label) for text, label in opinions(number, words, seed)]

    found = close("slang", Traffic(rows(300, KNOWN, 1), rows(300, NEW, 2), rows(300, NEW, 3)))
    assert (found.calm, found.alarmed) == (0, 1)
    assert "inputs have drifted: unknown words" in found.said
    assert found.versions == [1, 2]
    assert found.failures == []
    assert found.before < 0.7
    assert found.after > 0.9
    assert found.decision["difference"] >= -0.03

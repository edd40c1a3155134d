"""Fixtures for the feedback store: tasks of each modality with processed data, words said about them, and databases."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flywheel.feedback.pull import PullOutcome, pull
from flywheel.feedback.store import FeedbackStore
from flywheel.preprocessor.pipeline.run import preprocess
from flywheel.project.compose import compose_task
from flywheel.project.config import TaskConfig
from flywheel.project.digest import sha256_of_json
from flywheel.project.params import task_from
from flywheel.serving.version.record import Feedback, Prediction

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def prediction(name: str, value: dict[str, Any] | None, task: str = "digits", **more: Any) -> Prediction:
    """A prediction; its number in `name` is the second in which it was made."""
    seconds = int("".join(filter(str.isdigit, name)) or 0)
    given = {"answer": {"label": "0"}, "client": "web", "subject": None, **more}
    return Prediction(name, task, 1, "a" * 64, NOON + timedelta(seconds=seconds), value, sha256_of_json(value), **given)


def word(name: str, about: str, label: str | float | None, *, correct: bool | None = None, client: str = "ann",
         seconds: float = 0, source: str = "person") -> Feedback:  # fmt: skip
    """What somebody says about a prediction."""
    return Feedback(name, about, label, correct, NOON + timedelta(hours=1, seconds=seconds), client, source)


def png(pixels: np.ndarray[Any, Any]) -> str:
    """A picture as a request gives it."""
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


class World:
    """A task with raw and processed data in a folder, and a store."""

    def __init__(self, task: TaskConfig, raw: Path, folder: Path) -> None:
        self.task, self.raw, self.folder = task, raw, folder
        self.processed, self.feedback = folder / "processed", folder / "feedback" / task.name
        self.store = FeedbackStore(f"sqlite:///{folder / 'store/feedback.db'}", settings={task.name: task.feedback})
        self._names = (f"p{number}" for number in itertools.count())
        self.preprocess()

    def preprocess(self) -> dict[str, Any]:
        """Make the processed data; what the profile says of feedback."""
        import json

        preprocess(self.task, self.raw, self.feedback, self.processed)
        found: dict[str, Any] = json.loads((self.processed / "profile.json").read_text())["feedback"]
        return found

    def say(self, value: dict[str, Any] | None, label: Any, *, client: str = "ann", **more: Any) -> str:
        """Record a prediction and what a client says about it; the prediction's id."""
        name = next(self._names)
        self.store.record_predictions([prediction(name, value, self.task.name, subject=more.pop("subject", None))])
        seconds = more.pop("seconds", int(name[1:]))
        self.store.record_feedback([word(f"w-{name}", name, label, client=client, seconds=seconds, **more)])
        return name

    def say_all(self, values: Sequence[dict[str, Any]], labels: Sequence[Any], *, client: str = "ann") -> None:
        """The same for many rows, in two transactions."""
        names = [next(self._names) for _ in values]
        self.store.record_predictions([prediction(*one, self.task.name) for one in zip(names, values, strict=True)])
        words = [word(f"w-{name}", name, label, client=client, seconds=int(name[1:]))
                 for name, label in zip(names, labels, strict=True)]  # fmt: skip
        assert {one.outcome for one in self.store.record_feedback(words)} <= {"stored"}

    def pull(self, **settings: Any) -> PullOutcome:
        """Pull with some of the settings changed."""
        task = replace(self.task, feedback=replace(self.task.feedback, **settings))
        return pull(task, self.store, self.raw, self.processed, self.feedback)

    def raw_rows(self, split: str) -> pd.DataFrame:
        """The raw rows that are in a split of the processed data."""
        from safetensors.numpy import load_file

        from flywheel.project.instantiate import build
        from flywheel.project.kind import READER

        splits = build(self.task.data.reader.read, READER, where="read").read(self.raw)
        source = splits[split if split in splits else "train"]
        frame = pd.concat(source.chunks(10_000))
        return frame.loc[load_file(self.processed / f"{split}.safetensors")["row"]]

    def pulled(self) -> pd.DataFrame:
        """The rows that were pulled."""
        files = sorted(self.feedback.glob("*.parquet"))
        return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True) if files else pd.DataFrame()


def compose(root: Path, name: str) -> TaskConfig:
    return task_from(compose_task(root, [f"task={name}"]), "")


@pytest.fixture
def digits_world(digits: Any, tmp_path: Path) -> World:
    """scikit-learn's digits: 1,797 pictures of 8x8."""
    return World(digits.task, digits.folder / digits.raw, tmp_path)


@pytest.fixture
def text_world(root: Path, tmp_path: Path) -> World:
    """The tweets of the fixtures."""
    return World(compose(root, "tweets"), root / "tests/fixtures/tweets", tmp_path)


@pytest.fixture
def table_world(root: Path, tmp_path: Path) -> World:
    """A table made here: a number, a category, and an identifier that requests do not give."""
    task = compose(root, "breast_cancer")
    task.name = "table"
    task.data.reader.read = {
        "_target_": "flywheel.reader.table.TableReader", "path": "rows.csv", "label_column": "label",
    }  # fmt: skip
    task.preprocess.inputs = {
        "_target_": "flywheel.modality.tabular.data.preprocessor.TabularPreprocessor", "types": {"id": "identifier"},
    }  # fmt: skip
    task.preprocess.target = {"_target_": "flywheel.preprocessor.target.ClassTarget"}
    random = np.random.default_rng(0)
    size, colour = random.normal(size=400).round(3), random.choice(["red", "blue"], 400)
    frame = pd.DataFrame(
        {"id": range(400), "size": size, "colour": colour, "label": np.where(size > 0, "big", "small")}
    )
    (tmp_path / "raw").mkdir()
    frame.to_csv(tmp_path / "raw/rows.csv", index=False)
    return World(task, tmp_path / "raw", tmp_path)


@pytest.fixture
def number_world(root: Path, tmp_path: Path) -> World:
    """A table whose target is a number."""
    task = compose(root, "diabetes")
    task.name = "number"
    task.data.reader.read = {
        "_target_": "flywheel.reader.table.TableReader", "path": "rows.csv", "label_column": "label",
    }  # fmt: skip
    task.preprocess.inputs = {"_target_": "flywheel.modality.tabular.data.preprocessor.TabularPreprocessor"}
    size = np.random.default_rng(0).normal(size=400).round(3)
    (tmp_path / "raw").mkdir()
    pd.DataFrame({"size": size, "label": 100 + 10 * size}).to_csv(tmp_path / "raw/rows.csv", index=False)
    return World(task, tmp_path / "raw", tmp_path)


@pytest.fixture
def audio_world(root: Path, tmp_path: Path) -> World:
    """Two pitches, a folder each."""
    task = compose(root, "spoken_digits")
    task.name = "tones"
    task.data.reader.read = {"_target_": "flywheel.modality.audio.data.folder.AudioFolderReader"}
    task.preprocess.target = {"_target_": "flywheel.preprocessor.target.ClassTarget"}
    return World(task, root / "tests/fixtures/tones", tmp_path)


@pytest.fixture
def items_world(root: Path, tmp_path: Path) -> World:
    """Users who watched films."""
    task = compose(root, "movielens")
    task.data.reader.read |= {"path": "watched.inter", "items_path": "films.item"}
    return World(task, root / "tests/fixtures/interactions", tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'feedback.db'}"
    server: Any = request.getfixturevalue("postgres")
    return str(server.url(server.new_database()))

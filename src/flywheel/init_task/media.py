"""Looks into some pictures and recordings for what their preprocessing must know: sizes, colours, rates, lengths."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flywheel.init_task.guess import Guess, counted
from flywheel.project.errors import DataError

SMALL_PX, LARGE_PX = 32, 64
"""Sides that pictures are brought to: what a small network on a CPU learns from in minutes."""
MIN_CNN_PX = 8
MAX_RATE_HZ = 16_000
MAX_SECONDS = 10.0
MIN_TOKENS, MAX_TOKENS = 16, 256
_TOKEN = re.compile(r"\w+|[^\w\s]")


def look_at_pictures(guess: Guess, files: list[Path]) -> set[Path]:
    """Decode pictures as the stages do, choose the size, the channels and the network, and give those that are broken.

    Raises:
        DataError: None of the files is a picture.
    """
    from flywheel.reader.format.image_file import ImageError, decode_image

    sizes: Counter[tuple[int, int]] = Counter()
    grey, is_deep = True, False
    bad: dict[Path, str] = {}
    for file in files:
        try:
            pixels = decode_image(file.read_bytes())
        except ImageError as error:
            bad[file] = str(error)
            continue
        sizes[(pixels.shape[0], pixels.shape[1])] += 1
        grey &= pixels.ndim == 2
        is_deep |= pixels.dtype == np.uint16
    _say_bad(guess, files, bad, "picture")
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
    if is_deep:
        guess.note("depth", "16 bits", "which levels are in use is learnt from train")
    if min(height, width) < MIN_CNN_PX:
        guess.model = "mlp"
    return set(bad)


def look_at_recordings(guess: Guess, files: list[Path]) -> set[Path]:
    """Decode recordings as the stages do, choose the rate and the length, and give those that cannot be used.

    Raises:
        DataError: None of the files is a recording.
    """
    from flywheel.preprocessor.audio_clip import ClipSettings
    from flywheel.reader.format.audio_archive import read_file
    from flywheel.reader.format.audio_file import AudioError, decode_audio

    rates: Counter[int] = Counter()
    seconds: list[float] = []
    bad: dict[Path, str] = {}
    for file in files:
        try:
            recording = decode_audio(read_file(file))
            ClipSettings(recording.rate_hz, MAX_SECONDS).clip(recording)  # silence is refused
        except AudioError as error:
            bad[file] = str(error)
            continue
        rates[recording.rate_hz] += 1
        seconds.append(len(recording.samples) / recording.rate_hz)
    _say_bad(guess, files, bad, "recording")
    rate, number = min(rates.items(), key=lambda item: (-item[1], item[0]))
    chosen = min(rate, MAX_RATE_HZ)
    guess.inputs["sample_rate_hz"] = chosen
    others = f", of {len(rates)} rates" if len(rates) > 1 else ""
    guess.note("rate", f"{chosen} Hz", f"most files have {rate} Hz ({number} of {len(seconds)} looked at{others})")
    longest = float(np.quantile(seconds, 0.95))
    limit = min(max(np.ceil(longest * 10) / 10, 0.1), MAX_SECONDS)
    guess.inputs["max_seconds"] = round(float(limit), 1)
    guess.note("length", f"{limit:.1f} s", f"95% are no longer than {longest:.1f} s; longer ones are cut")
    return set(bad)


def look_at_texts(guess: Guess, files: list[Path]) -> set[Path]:
    """Read texts, choose how many tokens of each are kept, and give those that are no UTF-8 text, or empty.

    Raises:
        DataError: None of the files is UTF-8 text.
    """
    from flywheel.preprocessor.text_cleaning import TextCleaning

    texts: list[str] = []
    bad: dict[Path, str] = {}
    for file in files:
        try:
            text = file.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            bad[file] = f"is not utf-8 text (byte {error.start})"
            continue
        if TextCleaning().clean(text).strip():
            texts.append(text)
        else:
            bad[file] = "text is empty"
    _say_bad(guess, files, bad, "UTF-8 text")
    choose_length(guess, texts)
    return set(bad)


def choose_length(guess: Guess, texts: Sequence[str]) -> None:
    """Keep so many tokens that hardly a text is cut, up to a limit; marks of punctuation are tokens, too."""
    words = float(np.quantile([len(_TOKEN.findall(text)) for text in texts], 0.95))
    tokens = min(max(8 * math.ceil(words / 8), MIN_TOKENS), MAX_TOKENS)
    guess.inputs["max_length"] = tokens
    guess.note("length", f"{tokens} tokens", f"95% of the texts have no more than {words:.0f}; longer ones are cut")


def _say_bad(guess: Guess, files: list[Path], bad: dict[Path, str], noun: str) -> None:
    """Warn of files that preprocessing will drop, with the reason that it will give.

    Raises:
        DataError: All are bad.
    """
    if not bad:
        return
    first, why = next(iter(bad.items()))
    if len(bad) == len(files):
        mend = f"give {noun}s of the formats that docs/your-own-data.md names"
        raise DataError(first, None, f"{why}; none of the {len(files)} files looked at can be used", mend=mend)
    looked = counted(len(files), "file")
    guess.warn(f"{len(bad)} of {looked} looked at cannot be used: preprocess drops them. {first.name} {why}.")

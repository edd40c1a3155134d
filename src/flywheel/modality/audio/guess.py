"""What `init-task` sees in a folder of recordings: their rates and their lengths."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from flywheel.init_task.guess import CLASS, Guess, Node, Recipe
from flywheel.init_task.medium import Medium, say_bad
from flywheel.project.errors import DataError

MAX_RATE_HZ = 16_000
MAX_SECONDS = 10.0

RECIPES = {CLASS: Recipe("audio", "speech_cnn", "audio", "audio", {"lr": 5e-3})}


def look_at_recordings(guess: Guess, files: list[Path]) -> set[Path]:
    """Decode recordings as the stages do, choose the rate and the length, and give those that cannot be used.

    Raises:
        DataError: None of the files is a recording.
    """
    from flywheel.modality.audio.data.archive import read_file
    from flywheel.modality.audio.data.clip import ClipSettings
    from flywheel.modality.audio.data.file import AudioError, decode_audio

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
    say_bad(guess, files, bad, "recording")
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


def _recordings(splits: dict[str, str]) -> Node:
    """Arguments of the reader of recordings, which knows the splits by their names."""
    for split, name in splits.items():
        if name != split:
            raise DataError(name, None, f"is the {split} folder by its name", fix=f"rename it to {split}")
    return {"_target_": "flywheel.modality.audio.data.folder.AudioFolderReader"}


def medium() -> Medium:
    """Files of recordings in a folder for each class."""
    from flywheel.modality.audio.data.file import AUDIO_EXTENSIONS

    return Medium("recording", AUDIO_EXTENSIONS, _recordings, True, look_at_recordings)

"""Speaks words with eSpeak NG and packs the recordings into one zip: a program of its own, run by `source/espeak.py`.

    python -P espeak_speaker.py plan.json recordings.zip

It is a process of its own because the library keeps state from one word to the next, so that only a fresh one gives the
same bytes again, and because a crash in it must not take the stage along. It imports nothing of Flywheel.
"""

from __future__ import annotations

import ctypes
import io
import json
import math
import random
import sys
import wave
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Samples = np.ndarray[Any, Any]

# Constants of espeak-ng's speak_lib.h.
SYNCHRONOUS, DO_NOT_EXIT, UTF8 = 2, 0x8000, 1
SPEED, PITCH = 1, 3
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

LIBRARIES = ("libespeak-ng.so", "libespeak-ng.dylib", "espeak-ng.dll")
DATA, VOICES = "espeak-ng-data", "voices/!v"
OLDEST = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can hold


class Utterance(NamedTuple):
    """One word, and how it is spoken: `speed` in words a minute, `pitch` from 0 to 100, 50 being the voice's own."""

    word: str
    voice: str
    accent: str
    take: int
    speed: int
    pitch: int

    @property
    def file(self) -> str:
        """The recording's name; what is no letter, digit, dot or hyphen in a word or voice becomes a hyphen."""
        word, voice = ("".join(c if c.isalnum() or c in ".-" else "-" for c in text) for text in self[:2])
        return f"{word}_{voice}_{self.accent}_{self.take}.wav"


class Speaker:
    """The library, set up to give samples back instead of playing them.

    Args:
        library: The library, opened by ctypes.
        folder: Folder that holds `espeak-ng-data`.

    Raises:
        RuntimeError: The library does not start.
    """

    def __init__(self, library: Any, folder: Path) -> None:
        self._library = library
        self._blocks: list[Samples] = []
        self._name = ""
        self._callback = CALLBACK(self._take)  # kept: the library holds nothing but its address
        self.rate_hz = int(library.espeak_Initialize(SYNCHRONOUS, 0, str(folder).encode(), DO_NOT_EXIT))
        if self.rate_hz <= 0:
            raise RuntimeError(f"eSpeak NG does not start (error {self.rate_hz})")
        library.espeak_SetSynthCallback(self._callback)

    def speak(self, utterance: Utterance, seed: int) -> Samples:
        """Speak one word: int16 [N] at `rate_hz`.

        Raises:
            RuntimeError: There is no such voice or accent, or nothing is heard.
        """
        name = f"{utterance.accent}+{utterance.voice}"
        library, text = self._library, utterance.word.encode() + b"\0"
        if name != self._name and library.espeak_SetVoiceByName(name.encode()):
            raise RuntimeError(f"eSpeak NG has no voice '{name}'")
        self._name = name
        library.espeak_SetParameter(SPEED, utterance.speed, 0)
        library.espeak_SetParameter(PITCH, utterance.pitch, 0)
        library.espeak_ng_SetRandSeed(ctypes.c_long(seed))  # breath and roughness are noise, seeded by the clock
        self._blocks.clear()
        if library.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 1, 0, UTF8, None, None) or not self._blocks:
            raise RuntimeError(f"eSpeak NG says nothing for '{utterance.word}' with voice '{name}'")
        return np.concatenate(self._blocks)

    def _take(self, samples: Any, number: int, events: Any) -> int:
        if samples and number > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, (number,)).copy())
        return 0


def voices_in(folder: Path) -> list[str]:
    """Name the voice variants, sorted."""
    return sorted(file.name for file in (folder / DATA / VOICES).iterdir() if not file.name.startswith("."))


def utterances(plan: dict[str, Any], voices: list[str]) -> Iterator[Utterance]:
    """Say what is to be spoken: every voice speaks every word `takes` times, each time in the next accent.

    Speed and pitch are drawn for each from (`seed`, voice, word, take), so a further voice changes nothing of others.
    """
    accents = plan["accents"]
    for number, voice in enumerate(voices):
        for take in range(plan["takes"]):
            for word in plan["words"]:
                draw = random.Random(f"{plan['seed']}/{voice}/{word}/{take}")
                accent = accents[(number + take) % len(accents)]
                yield Utterance(word, voice, accent, take, draw.randint(*plan["speed"]), draw.randint(*plan["pitch"]))


def write_recordings(
    plan: dict[str, Any], speak: Callable[[Utterance, int], Samples], rate_hz: int, target: Path
) -> None:
    """Speak everything, bring it to the wanted rate, and pack it: no times, one order, stored without compression."""
    voices = plan["voices"] or voices_in(Path(plan["folder"]))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for utterance in utterances(plan, voices):
            samples = resampled(speak(utterance, plan["seed"]), rate_hz, plan["rate_hz"])
            info = zipfile.ZipInfo(utterance.file, OLDEST)
            info.create_system, info.external_attr = 3, 0o644 << 16  # as on Unix, wherever this runs
            archive.writestr(info, wav(samples, plan["rate_hz"]))


def resampled(samples: Samples, rate_hz: int, wanted_hz: int) -> Samples:
    """Bring int16 samples [N] to another rate by a polyphase filter."""
    if rate_hz == wanted_hz:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(rate_hz, wanted_hz)
    up, down = wanted_hz // common, rate_hz // common
    smooth = resample_poly(samples.astype(np.float64), up, down, window=_low_pass(max(up, down)))
    return np.asarray(np.clip(np.rint(smooth), -32768, 32767), "<i2")


@lru_cache(maxsize=1)
def _low_pass(widest: int) -> Samples:
    """The filter that `resample_poly` would design anew for every word."""
    from scipy.signal import firwin

    return np.asarray(firwin(20 * widest + 1, 1.0 / widest, window=("kaiser", 5.0)))


def wav(samples: Samples, rate_hz: int) -> bytes:
    """Write a WAV file of one channel of 16 bits."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return stream.getvalue()


def main(plan_file: Path, target: Path) -> None:
    """Do what a plan says: `folder` of the library, `words`, `voices` (none: all), `accents`, `takes`, ..."""
    plan = json.loads(plan_file.read_text(encoding="utf-8"))
    folder = Path(plan["folder"])
    found = [folder / name for name in LIBRARIES if (folder / name).is_file()]
    if not found:
        raise RuntimeError(f"the wheel has none of {', '.join(LIBRARIES)}")
    speaker = Speaker(ctypes.CDLL(str(found[0])), folder)
    write_recordings(plan, speaker.speak, speaker.rate_hz, target)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except (RuntimeError, OSError, AttributeError) as error:
        sys.exit(f"ERROR: {error}")

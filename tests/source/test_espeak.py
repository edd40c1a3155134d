"""Synthesised recordings: what is asked for, and what a library that stands in for eSpeak NG was told."""

from __future__ import annotations

import ctypes
import json
import sys
import wave
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flywheel.project.config import DataConfig
from flywheel.project.errors import ConfigError, SourceError
from flywheel.source import espeak, espeak_speaker
from flywheel.source.espeak import parse
from flywheel.source.espeak_speaker import Speaker, Utterance, main, resampled, utterances, write_recordings
from flywheel.source.fetch import fetch
from flywheel.source.probe import probe

URI = "espeak:toyspeak==1.5/digits.zip?words=one,two"
RATE = 16000


class Toy:
    """Does what eSpeak NG does, in a way that shows what it was told: the tone is the pitch, the length the speed."""

    def __init__(self, rate: int = RATE, voices: Sequence[str] = ("f1", "f2", "m 1")) -> None:
        self.rate, self.voices = rate, voices
        self.parameters: dict[int, int] = {}
        self.seeds: list[int] = []
        self.names: list[str] = []

    def espeak_Initialize(self, output: int, _: int, folder: bytes, options: int) -> int:
        assert (output, options) == (2, 0x8000)
        assert Path(folder.decode(), "espeak-ng-data").is_dir()
        return self.rate

    def espeak_SetSynthCallback(self, callback: Any) -> None:
        self.callback = callback

    def espeak_SetVoiceByName(self, name: bytes) -> int:
        self.names.append(name.decode())
        return 0 if name.decode().partition("+")[2] in self.voices else 2

    def espeak_SetParameter(self, which: int, value: int, _: int) -> int:
        self.parameters[which] = value
        return 0

    def espeak_ng_SetRandSeed(self, seed: Any) -> None:
        self.seeds.append(seed.value)

    def espeak_Synth(self, text: bytes, size: Any, *_: Any) -> int:
        assert text.endswith(b"\0")
        assert size.value == len(text)
        number = 40 * self.parameters[1]
        samples = (8000 * np.sin(np.arange(number) * self.parameters[3] / 500)).astype(np.int16)
        for part in [] if text == b"mute\0" else np.array_split(samples, 3):
            self.callback(part.ctypes.data_as(ctypes.POINTER(ctypes.c_short)), len(part), None)
        self.callback(None, 0, None)
        return 0


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel that pip finds, laid out like eSpeak NG's."""
    path = tmp_path / "index" / "toyspeak-1.5-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("espeakng_loader/libespeak-ng.so", b"no library")
        for voice in ("f1", "m 1", "f2"):
            archive.writestr(f"espeakng_loader/espeak-ng-data/voices/!v/{voice}", b"")
        archive.writestr("toyspeak-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: toyspeak\nVersion: 1.5\n")
        archive.writestr("toyspeak-1.5.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("toyspeak-1.5.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return path


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    """Load the toy for the library, and run the program in this process."""
    made = Toy()
    monkeypatch.setattr(espeak_speaker.ctypes, "CDLL", lambda path: made)

    def run(command: Sequence[str], folder: Path) -> str:
        assert command[:3] == [sys.executable, "-P", str(espeak.PROGRAM)]
        main(folder / command[3], folder / command[4])
        return ""

    monkeypatch.setattr(espeak, "run_tool", run)
    return made


def plan(**settings: Any) -> dict[str, Any]:
    given = {"words": ["one", "two"], "accents": ["en", "en-us"], "voices": [], "takes": 2, "speed": [100, 200],
             "pitch": [30, 70], "rate_hz": 8000, "seed": 5}  # fmt: skip
    return {**given, **settings}


def test_the_settings_are_in_the_uri() -> None:
    found = parse(URI)
    assert (found.requirement, found.file, found.words) == ("toyspeak==1.5", "digits.zip", ("one", "two"))
    assert (found.takes, found.voices, found.accents) == (1, (), ("en-us",))
    whole = parse(f"{URI}&accents=en,en-us&voices=f1&takes=3&speed=90-100&pitch=5-6&rate_hz=8000&seed=7")
    assert (whole.accents, whole.voices, whole.takes) == (("en", "en-us"), ("f1",), 3)
    assert (whole.speed, whole.pitch, whole.rate_hz, whole.seed) == ((90, 100), (5, 6), 8000, 7)


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("espeak:toyspeak/digits.zip?words=a", "not of the form"),
        ("espeak:toyspeak==1.5/digits.wav?words=a", "not of the form"),
        ("espeak:toyspeak==1.5/digits.zip", "not of the form"),
        ("espeak:toyspeak==1.5/digits.zip?seed=1", "names no words"),
        (f"{URI}&words=", "names no words, or an empty one"),
        (f"{URI},&seed=1", "names no words, or an empty one"),
        (f"{URI}&take=3", "unknown setting 'take'.*takes"),
        (f"{URI}&takes=0", "takes must be 1 or more"),
        (f"{URI}&takes=-1", "takes '-1' is not a whole number"),
        (f"{URI}&rate_hz=10", "rate_hz 1000 to 96000"),
        (f"{URI}&speed=fast", "speed 'fast' is not a range"),
        (f"{URI}&pitch=70-30", "pitch '70-30' is not a range"),
    ],
)
def test_settings_that_cannot_be_are_refused(uri: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse(uri)


def test_every_voice_speaks_every_word_in_accents_by_turns_and_alone_in_its_draws() -> None:
    found = list(utterances(plan(), ["a", "b"]))
    assert len(found) == len(set(found)) == 2 * 2 * 2
    assert [(one.voice, one.take, one.word, one.accent) for one in found[:5]] == [
        ("a", 0, "one", "en"), ("a", 0, "two", "en"), ("a", 1, "one", "en-us"), ("a", 1, "two", "en-us"),
        ("b", 0, "one", "en-us"),
    ]  # fmt: skip
    assert all(100 <= one.speed <= 200 and 30 <= one.pitch <= 70 for one in found)
    assert len({one.speed for one in found}) > 4
    more = {(one.voice, one.word, one.take): one for one in utterances(plan(words=["one"], takes=3), ["a", "b", "c"])}
    for one in found[::2]:
        assert more[one.voice, one.word, one.take].speed == one.speed
    assert [one.speed for one in utterances(plan(seed=6), ["a", "b"])] != [one.speed for one in found]


def test_names_of_files_hold_no_underscores_but_between_their_parts() -> None:
    assert Utterance("big_dog", "Mr serious", "en-us", 3, 100, 50).file == "big-dog_Mr-serious_en-us_3.wav"


def test_the_library_is_told_voice_speed_pitch_and_seed_and_its_blocks_are_joined(tmp_path: Path) -> None:
    (tmp_path / "espeak-ng-data").mkdir()
    library = Toy()
    speaker = Speaker(library, tmp_path)
    assert speaker.rate_hz == RATE
    samples = speaker.speak(Utterance("one", "f1", "en", 0, 150, 40), seed=9)
    expected = (8000 * np.sin(np.arange(6000) * 40 / 500)).astype(np.int16)
    np.testing.assert_array_equal(samples, expected)
    speaker.speak(Utterance("two", "f1", "en", 0, 150, 40), seed=9)
    assert library.names == ["en+f1"], "a voice is loaded once, not once a word"
    assert library.seeds == [9, 9]
    with pytest.raises(RuntimeError, match=r"has no voice 'en\+none'"):
        speaker.speak(Utterance("one", "none", "en", 0, 150, 40), seed=9)
    with pytest.raises(RuntimeError, match=r"says nothing for 'mute' with voice 'en\+f2'"):
        speaker.speak(Utterance("mute", "f2", "en", 0, 150, 40), seed=9)
    with pytest.raises(RuntimeError, match="does not start"):
        Speaker(Toy(rate=-1), tmp_path)


def test_the_same_plan_gives_the_same_bytes(tmp_path: Path) -> None:
    def speak(utterance: Utterance, seed: int) -> np.ndarray[Any, Any]:
        return np.full(utterance.speed * 10, utterance.pitch, np.int16)

    for name in ("a.zip", "b.zip"):
        write_recordings(plan(voices=["f1"]), speak, 8000, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_resampling_keeps_length_and_loudness() -> None:
    tone = (8000 * np.sin(np.arange(22050) / 20)).astype(np.int16)
    found = resampled(tone, 22050, 8000)
    assert len(found) == 8000
    assert found.dtype == np.int16
    assert abs(found[100:-100].std() / tone.std() - 1) < 0.01
    assert resampled(tone, 22050, 22050) is tone


def test_the_wheel_is_fetched_and_its_voices_speak(
    make_data: Callable[..., DataConfig], wheel: Path, toy: Toy, project: Path
) -> None:
    data = make_data(f"{URI}&accents=en,en-us&takes=2&rate_hz=8000&seed=3", files={"digits.zip": None})
    record = fetch(data, project / "out")
    with zipfile.ZipFile(project / "out/digits.zip") as archive:
        names = archive.namelist()
        assert names[:4] == ["one_f1_en_0.wav", "two_f1_en_0.wav", "one_f1_en-us_1.wav", "two_f1_en-us_1.wav"]
        assert len(names) == 3 * 2 * 2
        assert {name.split("_")[1] for name in names} == {"f1", "f2", "m-1"}
        with archive.open(names[0]) as member, wave.open(member) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
            assert 120 * 20 <= file.getnframes() <= 200 * 20
    wheel.unlink()
    assert fetch(data, project / "again") == record, "a version and its settings never change: the store has it"


def test_a_library_that_cannot_be_loaded_is_a_reason_to_skip(
    make_data: Callable[..., DataConfig], wheel: Path, project: Path
) -> None:
    with pytest.raises(SourceError, match=r"libespeak-ng\.so: "):
        fetch(make_data(URI, files={"digits.zip": None}), project / "out")


def test_a_wheel_without_library_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(plan(folder=str(tmp_path))))
    with pytest.raises(RuntimeError, match=r"the wheel has none of libespeak-ng\.so"):
        main(tmp_path / "plan.json", tmp_path / "out.zip")


def test_a_mirror_has_the_finished_file(
    make_data: Callable[..., DataConfig], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror/toys").mkdir(parents=True)
    (tmp_path / "mirror/toys/digits.zip").write_bytes(b"spoken before")
    monkeypatch.setenv("FLYWHEEL_MIRROR", str(tmp_path / "mirror"))
    fetch(make_data(URI, files={"digits.zip": None}), project / "out")
    assert (project / "out/digits.zip").read_bytes() == b"spoken before"


def test_probe_asks_for_no_more_than_pip(make_data: Callable[..., DataConfig]) -> None:
    assert probe(make_data(URI))[0].detail == "pip is there (the index is asked at download)"


def test_the_plan_of_spoken_digits_is_one(root: Path) -> None:
    import yaml

    settings = yaml.safe_load((root / "conf/data/spoken_digits.yaml").read_text())
    found = parse(settings["download"]["sources"][0]["uri"])
    assert found.words == tuple("0123456789")
    assert len(found.accents) == 8
    assert found.file == settings["reader"]["read"]["path"] == next(iter(settings["download"]["files"]))

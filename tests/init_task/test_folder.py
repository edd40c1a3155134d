from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.errors import DataError
from flywheel.init_task.folder import guess_folder
from flywheel.init_task.guess import Guess

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
    assert guess.reader == {
        "name": "image_folder",
        "read": {"_target_": "flywheel.reader.image_folder.ImageFolderReader", "train": ".", "test": None},
    }
    assert guess.inputs == {"channels": 1}
    assert told(guess)["size"] == "16 x 16"


def test_pictures_of_several_sizes_and_colours_are_brought_to_one(shades: Path) -> None:
    from PIL import Image

    Image.new("RGB", (200, 120)).save(shades / "dark" / "wide.jpg")
    assert guess_folder(shades, None).inputs == {"image_size": [32, 32], "channels": 3}


def test_tiny_pictures_get_no_convolutions(tmp_path: Path, data: Any) -> None:
    classes = {name: [data.picture(level, i, size=6) for i in range(15)] for name, level in (("a", 60), ("b", 190))}
    assert guess_folder(data.write_folder(tmp_path / "f", classes, ".png"), None).model == "mlp"


def test_official_splits_by_the_folders_names(shades: Path) -> None:
    for split in ("Training", "test"):
        shutil.copytree(shades, shades.parent / "parts" / split)
    guess = guess_folder(shades.parent / "parts", None)
    read = {key: value for key, value in guess.reader["read"].items() if key != "_target_"}
    assert read == {"train": "Training", "test": "test"}
    assert told(guess)["split"] == "train / test"


def test_recordings(tmp_path: Path, data: Any) -> None:
    classes = {name: [data.tone(pitch + i) for i in range(12)] for name, pitch in (("low", 200), ("high", 1500))}
    folder = data.write_folder(tmp_path / "tones", classes, ".wav")
    guess = guess_folder(folder, None)
    assert (guess.modality, guess.num_classes) == ("audio", 2)
    assert guess.inputs == {"sample_rate_hz": 8000, "max_seconds": 0.3}
    assert guess.reader["read"] == {"_target_": "flywheel.reader.audio_folder.AudioFolderReader"}
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
    with pytest.raises(DataError, match=r"loose\.wav: lies in no class's folder"):
        guess_folder(tmp_path / "f", None)
    (tmp_path / "f/train/loose.wav").unlink()
    (tmp_path / "f/train").rename(tmp_path / "f/training")
    with pytest.raises(DataError, match="training: is the train folder by its name; rename it to train"):
        guess_folder(tmp_path / "f", None)


def test_texts(tmp_path: Path, data: Any) -> None:
    guess = guess_folder(data.write_folder(tmp_path / "f", {"good": TEXTS, "bad": TEXTS}, ".txt"), None)
    assert guess.modality == "text"
    assert guess.inputs == {"max_length": 16}
    assert guess.reader["read"]["train"] == "."


def test_pictures_and_recordings_are_not_mixed(shades: Path, data: Any) -> None:
    data.write_folder(shades, {"dark": [data.tone(300)] * 3}, ".wav")
    with pytest.raises(DataError, match="mixes 30 pictures and 3 recordings; part them into two folders, or say"):
        guess_folder(shades, None)
    guess = guess_folder(shades, "image")
    assert guess.modality == "image"
    assert "3 files left out: by the ending, no pictures." in guess.warnings


def test_files_that_are_no_pictures_are_said(shades: Path) -> None:
    (shades / "dark/broken.png").write_bytes(b"nothing")
    guess = guess_folder(shades, None)
    assert any("1 of 31 files looked at cannot be read, such as broken.png" in line for line in guess.warnings)
    for file in shades.rglob("*.png"):
        file.write_bytes(b"nothing")
    with pytest.raises(DataError, match="is no picture, nor is any other file looked at"):
        guess_folder(shades, None)


def test_pictures_of_other_formats_reach_no_decoder(
    shades: Path, unpromised: bytes, called_gs: Callable[[], str]
) -> None:
    for file in shades.rglob("*.png"):
        file.write_bytes(unpromised)
    with pytest.raises(DataError, match="is no picture, nor is any other file looked at"):
        guess_folder(shades, None)
    assert called_gs() == ""


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
            "its 25 pictures lie in no class's folder; put each class's pictures into a folder of its name",
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

"""One listing of files for readers, predictions and init-task: what one of them sees, all see."""

from __future__ import annotations

import io
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from flywheel.init_task.folder import guess_folder
from flywheel.modality.audio.data.folder import AudioFolderReader
from flywheel.modality.audio.data.requests import read_audio_requests
from flywheel.modality.image.data.folder import ImageFolderReader
from flywheel.modality.image.data.requests import read_image_requests
from flywheel.modality.text.data.folder import TextFolderReader
from flywheel.preprocessor.table_requests import read_table_requests
from flywheel.project.errors import DataError
from flywheel.reader.format.folder import list_files

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))

Reading = Callable[[Path], pd.DataFrame]


def rows(splits: Any) -> pd.DataFrame:
    return pd.concat([frame for split in splits.values() for frame in split.chunks(100)])


READERS: dict[str, Reading] = {
    ".png": lambda folder: rows(ImageFolderReader(".", None).read(folder)),
    ".wav": lambda folder: rows(AudioFolderReader().read(folder)),
    ".txt": lambda folder: rows(TextFolderReader(".", None).read(folder)),
}
REQUESTS: dict[str, Reading] = {
    ".png": lambda folder: read_image_requests([folder], (1, 1, 1)),
    ".wav": lambda folder: read_audio_requests([folder]),
    ".txt": lambda folder: read_table_requests([folder], ["text"], text_files=True),
}


@pytest.fixture(params=READERS)
def ending(request: pytest.FixtureRequest) -> str:
    """Of pictures, recordings and texts."""
    return str(request.param)


@pytest.fixture
def content(ending: str) -> bytes:
    """An example."""
    stream = io.BytesIO()
    if ending == ".png":
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(stream, "PNG")
    elif ending == ".wav":
        soundfile.write(stream, np.sin(np.arange(800) / 5), 8000, format="WAV")
    else:
        stream.write(b"a text of some words")
    return stream.getvalue()


@pytest.fixture
def write(tmp_path: Path, content: bytes) -> Callable[..., Path]:
    """Write examples by their paths under a folder of examples, and give it."""

    def to(*names: str) -> Path:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        return tmp_path / "own"

    return to


def many(folder: str, ending: str, number: int = 6) -> list[str]:
    return [f"{folder}/{place}{ending}" for place in range(number)]


def seen_by_all(folder: Path, ending: str) -> list[str]:
    """The files that reading and predicting give, which must be the same, and as many as init-task counts."""
    read, asked = READERS[ending](folder), REQUESTS[ending](folder)
    assert [str(folder / name) for name in read["file"]] == asked["file"].tolist()
    assert guess_folder(folder, None).num_rows == len(read)
    return [str(name) for name in read["file"]]


def test_links_are_followed_and_circles_left(write: Callable[..., Path], ending: str, tmp_path: Path) -> None:
    folder = write(*many("own/cat", ending), *many("elsewhere", ending))
    (folder / "fish").symlink_to(tmp_path / "elsewhere")
    (folder / "more/fish").parent.mkdir()
    (folder / "more/fish").symlink_to(tmp_path / "elsewhere")
    (folder / "cat/round").symlink_to(folder)
    (folder / "cat/one").symlink_to(folder / "cat")
    assert seen_by_all(folder, ending) == sorted(
        name.removeprefix("own/")
        for name in [*many("own/cat", ending), *many("own/fish", ending), *many("own/more/fish", ending)]
    )
    assert sorted(set(READERS[ending](folder)["label"])) == ["cat", "fish", "more"]


def test_hidden_files_and_endings_in_capitals(write: Callable[..., Path], ending: str) -> None:
    seen = [*many("own/a", ending), *many("own/b", ending.upper()), f"own/a/deep/x{ending.capitalize()}"]
    folder = write(*seen, f"own/a/.x{ending}", f"own/.git/x{ending}", f"own/a/.deep/x{ending}", f"own/a/x{ending}.bak")
    assert seen_by_all(folder, ending) == sorted(name.removeprefix("own/") for name in seen)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder, one: shutil.copy(one, folder / f"a/caf\udce9{one.suffix}"), r"'a/caf\\udce9\..*' is not UTF-8"),
        (lambda folder, one: (folder / f"a/gone{one.suffix}").symlink_to("nowhere"), "broken link"),
    ],
    ids=["not UTF-8", "broken link"],
)
def test_what_cannot_be_listed_is_refused_by_all(
    write: Callable[..., Path], ending: str, change: Callable[[Path, Path], object], said: str
) -> None:
    folder = write(*many("own/a", ending), *many("own/b", ending))
    change(folder, folder / f"a/0{ending}")
    for door in (READERS[ending], REQUESTS[ending], lambda path: guess_folder(path, None)):
        with pytest.raises(DataError, match=said):
            door(folder)


def test_a_class_is_one_however_its_name_is_composed(write: Callable[..., Path], ending: str) -> None:
    folder = write(*many(f"own/train/{COMPOSED}", ending), *many("own/train/the", ending),
                   *many(f"own/test/{DECOMPOSED}", ending, 3), *many("own/test/the", ending, 3))  # fmt: skip
    assert guess_folder(folder, None).num_classes == 2
    for part in ("train", "test"):
        assert sorted(set(READERS[ending](folder / part)["label"])) == [COMPOSED, "the"]
    both = write(*many(f"both/{COMPOSED}", ending), *many(f"both/{DECOMPOSED}", ending), *many("both/the", ending))
    assert guess_folder(both.parent / "both", None).num_classes == 2
    assert len(READERS[ending](both.parent / "both")) == 18


def test_classes_of_texts_are_named_in_either_form(tmp_path: Path) -> None:
    for name in (f"train/{DECOMPOSED}/a.txt", "train/the/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert len(rows(TextFolderReader(test=None, classes=[COMPOSED]).read(tmp_path))) == 1


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: cannot be read"):
        list_files(tmp_path / "nowhere")

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from flywheel.modality.audio.data import folder as audio_folder
from flywheel.modality.audio.data.folder import AudioFolderReader
from flywheel.project.errors import ConfigError, DataError

SPEAKERS = r"(?P<label>[^/]+)/(?P<group>[a-z]+)_\d+\.\w+"


@pytest.fixture
def tones(fixtures: Path) -> Path:
    return fixtures / "tones"


def test_class_folders_are_read_in_sorted_order(tones: Path) -> None:
    splits = AudioFolderReader().read(tones)
    assert {name: split.num_rows for name, split in splits.items()} == {"train": 16}
    frames = list(splits["train"].chunks(5))
    assert [len(frame) for frame in frames] == [5, 5, 5, 1]
    frame = pd.concat(frames)
    assert frame["file"].tolist() == sorted(frame["file"])
    assert frame["label"].tolist() == ["high"] * 8 + ["low"] * 8
    assert frame["audio"][0] == (tones / "high/anna_0.wav").read_bytes()
    assert frame.index.tolist() == list(range(16))
    assert list(frame.columns) == ["audio", "label", "file"]


def test_split_folders_above_the_class_folders_are_splits(tones: Path, tmp_path: Path) -> None:
    shutil.copytree(tones, tmp_path / "train")
    shutil.copytree(tones / "low", tmp_path / "test/low")
    splits = AudioFolderReader().read(tmp_path)
    assert {name: split.num_rows for name, split in splits.items()} == {"train": 16, "test": 8}
    assert set(next(splits["test"].chunks(99))["label"]) == {"low"}


def test_a_class_may_be_named_like_a_split(tones: Path, tmp_path: Path) -> None:
    shutil.copytree(tones / "low", tmp_path / "test")
    shutil.copytree(tones / "high", tmp_path / "exam")
    frame = next(AudioFolderReader().read(tmp_path)["train"].chunks(99))
    assert set(frame["label"]) == {"test", "exam"}


def test_pattern_gives_label_group_and_official_test_part(tones: Path) -> None:
    reader = AudioFolderReader(pattern=SPEAKERS, test_pattern=r".*_1\.\w+")
    splits = reader.read(tones)
    assert {name: split.num_rows for name, split in splits.items()} == {"train": 8, "test": 8}
    frame = next(splits["test"].chunks(99))
    assert frame["group"].tolist() == ["anna", "ben", "cleo", "dan"] * 2
    assert all("_1." in name for name in frame["file"])
    alone = AudioFolderReader(pattern=SPEAKERS, use_groups=False).read(tones)
    assert "group" not in next(alone["train"].chunks(99))


def test_an_archive_gives_the_same_rows_as_its_folder(tones: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "tones.tar.gz", "w:gz") as archive:
        for file in sorted(tones.rglob("*.*")):
            archive.add(file, file.relative_to(tones).as_posix())
    packed = AudioFolderReader(path="tones.tar.gz", pattern=SPEAKERS).read(tmp_path)["train"]
    plain = AudioFolderReader(pattern=SPEAKERS).read(tones)["train"]
    for _ in range(2):  # each pass opens the archive anew
        pd.testing.assert_frame_equal(pd.concat(packed.chunks(3)), pd.concat(plain.chunks(100)))


def test_recordings_that_cannot_be_used_are_bad_rows(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tones / "low", tmp_path / "low")
    (tmp_path / "low/strange.wav").write_bytes(b"x")
    (tmp_path / "low/zz_9.wav").write_bytes(b"x" * 5000)
    monkeypatch.setattr("flywheel.modality.audio.data.archive.MAX_FILE_BYTES", 4999)
    frame = next(AudioFolderReader(pattern=SPEAKERS).read(tmp_path)["train"].chunks(99))
    bad = frame[frame["error"].notna()]
    assert bad["file"].tolist() == ["low/strange.wav", "low/zz_9.wav"]
    assert bad["error"].iloc[0] == "its path does not match the reader's pattern"
    assert bad["error"].iloc[1].startswith("has 5000 bytes, more than 4999")
    assert bad["label"].isna().tolist() == [True, False]
    assert bad["audio"].iloc[1] is None


def test_frames_stay_small_however_many_rows_are_asked_for(tones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_folder, "CHUNK_BYTES", 5000)
    frames = list(AudioFolderReader().read(tones)["train"].chunks(1000))
    assert sum(map(len, frames)) == 16
    assert max(map(len, frames)) <= 4
    assert pd.concat(frames).index.tolist() == list(range(16))


def test_a_folder_without_recordings_for_train_is_refused(tones: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no recordings \(\.wav, \.flac"):
        AudioFolderReader().read(tmp_path)
    with pytest.raises(DataError, match="none of its 8 recordings has a path like"):
        AudioFolderReader().read(tones / "low")
    with pytest.raises(DataError, match="holds no recordings for train"):
        AudioFolderReader(test_pattern=".*").read(tones)
    with pytest.raises(DataError, match="its split is 'high', not train, validation, test"):
        AudioFolderReader(pattern=r"(?P<split>[^/]+)/(?P<label>[a-z]+).*").read(tones)


def test_patterns_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="pattern is not a regular expression"):
        AudioFolderReader(pattern="(")
    with pytest.raises(ConfigError, match="test_pattern is not a regular expression"):
        AudioFolderReader(test_pattern="[")
    with pytest.raises(ConfigError, match="pattern has no group `label`"):
        AudioFolderReader(pattern=".*")


def test_names_of_the_free_spoken_digit_dataset(root: Path, tmp_path: Path) -> None:
    import yaml

    settings = yaml.safe_load((root / "conf/data/fsdd.yaml").read_text())["reader"]["read"]
    del settings["_target_"]
    with tarfile.open(tmp_path / settings["path"], "w:gz") as archive:
        for name in ("7_jackson_0", "7_jackson_5", "0_theo_4", "0_theo_14", "3_theo_49"):
            info = tarfile.TarInfo(f"free-spoken-digit-dataset-1.0.10/recordings/{name}.wav")
            archive.addfile(info, io.BytesIO())
    splits = AudioFolderReader(**{**settings, "use_groups": True}).read(tmp_path)
    rows = {name: next(split.chunks(99))[["label", "group"]].to_numpy().tolist() for name, split in splits.items()}
    assert rows == {
        "train": [["7", "jackson"], ["0", "theo"], ["3", "theo"]],
        "test": [["7", "jackson"], ["0", "theo"]],
    }


def test_recordings_beside_the_class_folders_of_a_split_are_bad_rows(tones: Path, tmp_path: Path) -> None:
    shutil.copytree(tones, tmp_path / "train")
    shutil.copytree(tones / "low", tmp_path / "test/low")
    shutil.copy(tones / "low/anna_0.wav", tmp_path / "train/x.wav")
    shutil.copy(tones / "low/anna_0.wav", tmp_path / "test/y.wav")
    splits = AudioFolderReader().read(tmp_path)
    frame = pd.concat(split_frame for split in splits.values() for split_frame in split.chunks(5))
    assert set(frame["label"].dropna()) == {"high", "low"}
    assert {name: split.num_rows for name, split in splits.items()} == {"train": 18, "test": 8}
    bad = frame[frame["error"].notna()]
    assert dict(zip(bad["file"], bad["error"], strict=True)) == {
        "test/y.wav": "lies in the folder 'test' of a split, not in a class folder",
        "train/x.wav": "lies in the folder 'train' of a split, not in a class folder",
    }
    assert bad["label"].isna().all()


def test_splits_without_class_folders_are_refused(tones: Path, tmp_path: Path) -> None:
    shutil.copytree(tones / "low", tmp_path / "train")
    shutil.copytree(tones / "high", tmp_path / "test")
    with pytest.raises(DataError, match="none of its 16 recordings has a path like"):
        AudioFolderReader().read(tmp_path)

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flywheel.modality.audio.data.folder import AudioFolderReader
from flywheel.modality.audio.data.preprocessor import AudioPreprocessor
from flywheel.project.errors import DataError
from flywheel.reader.format.value import object_column

SMALL: dict[str, Any] = {"sample_rate_hz": 8000, "max_seconds": 0.12, "num_mels": 16}
KINDS = [{}, {"features": "mfcc"}, {"features": "quantised", "vocabulary_size": 20}]


@pytest.fixture(scope="module")
def rows(root: Path) -> pd.DataFrame:
    """16 recordings: two pitches, WAV, FLAC and OGG, one and two channels, 8 and 16 kHz."""
    return next(AudioFolderReader().read(root / "tests/fixtures/tones")["train"].chunks(100))


def fitted(rows: pd.DataFrame, chunk: int = 100, **options: Any) -> AudioPreprocessor:
    made = AudioPreprocessor(**{**SMALL, **options})
    made.fit(rows[start : start + chunk] for start in range(0, len(rows), chunk))
    return made


def only(arrays: dict[str, Any]) -> Any:
    assert len(arrays) == 1
    return next(iter(arrays.values()))


def test_meta_describes_what_transform_gives(rows: pd.DataFrame) -> None:
    for options, name, shape, dtype in (
        ({}, "spectrogram", (12, 16), np.uint8),
        ({"features": "mfcc", "num_coefficients": 5}, "spectrogram", (12, 5), np.uint8),
        (KINDS[2], "tokens", (12,), np.int32),
    ):
        made = fitted(rows, **options)
        array = made.transform(rows)[name]
        spec = made.meta()["inputs"][name]
        assert array.shape == (16, *shape) == (16, *spec["shape"])
        assert array.dtype == dtype == np.dtype(spec["dtype"])
        assert spec["padding"] == 0
        assert made.meta()["sequence_length"] == 12
        assert made.transform(rows[:0])[name].shape == (0, *shape)
        assert made.transform(rows[:0])[name].dtype == dtype


def test_padding_is_on_the_right_only_and_is_no_sound(rows: pd.DataFrame) -> None:
    for options in KINDS:
        made = fitted(rows, **options)
        array = only(made.transform(rows)).reshape(16, 12, -1)
        lengths = [made.frames.num_frames(len(made.clips.clip(value).samples)) for value in rows["audio"]]
        assert min(lengths) < 12
        for clip, length in zip(array, lengths, strict=True):
            assert (clip[:length] != 0).all()
            assert (clip[length:] == 0).all()


def test_bands_have_mean_0_and_deviation_1_after_the_networks_scaling(rows: pd.DataFrame) -> None:
    made = fitted(rows)
    packed = only(made.transform(rows))
    spec = made.meta()["inputs"]["spectrogram"]
    scaled = (packed[packed.any(axis=2)].astype(float) - spec["mean"]) / spec["std"]
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=0.1)
    assert made.meta()["padding_value"] == (0 - spec["mean"][0]) / spec["std"][0]


@pytest.mark.parametrize("options", KINDS)
def test_chunks_and_neighbours_change_no_bit(rows: pd.DataFrame, options: dict[str, Any]) -> None:
    made = fitted(rows, **options)
    for chunk in (1, 3):
        assert fitted(rows, chunk, **options).to_json() == made.to_json()
    whole = only(made.transform(rows))
    alone = np.concatenate([only(made.transform(rows[place : place + 1])) for place in range(16)])
    np.testing.assert_array_equal(alone, whole)


@pytest.mark.parametrize("options", KINDS)
def test_json_round_trip_transforms_alike(rows: pd.DataFrame, options: dict[str, Any]) -> None:
    made = fitted(rows, **options, too_long="drop", trim_db=None, high_hz=3500.0)
    again = AudioPreprocessor.from_json(json.loads(json.dumps(made.to_json())))
    assert again.to_json() == made.to_json()
    assert again.meta() == made.meta()
    short = rows[:12]
    np.testing.assert_array_equal(only(again.transform(short)), only(made.transform(short)))


def test_cleaned_rows_and_base64_give_what_the_bytes_give(rows: pd.DataFrame) -> None:
    made = fitted(rows)
    kept, dropped = made.clean(rows)
    assert dropped == []
    np.testing.assert_array_equal(only(made.transform(kept)), only(made.transform(rows)))
    text = rows.assign(audio=object_column(base64.b64encode(value).decode() for value in rows["audio"]))
    np.testing.assert_array_equal(only(made.transform(text)), only(made.transform(rows)))


def test_digest_is_of_the_sound_not_of_the_file(rows: pd.DataFrame) -> None:
    made = AudioPreprocessor(**SMALL)
    kept, _ = made.clean(pd.concat([rows, rows[:1]], ignore_index=True))
    digests = made.digest(kept)
    assert digests.shape == (17, 2)
    assert len(np.unique(digests, axis=0)) == 16
    assert (digests[16] == digests[0]).all()


def test_clean_parts_good_rows_from_bad_ones(rows: pd.DataFrame) -> None:
    good = rows["audio"][0]
    audio = [good, None, b"hello", good[:500], good, b""]
    given = pd.DataFrame({"audio": object_column(audio), "label": list("abcdef"), "group": list("uvwxyz")})
    given["error"] = object_column([None, None, None, None, "cannot be read", None])
    given.index = pd.RangeIndex(40, 46)
    kept, dropped = AudioPreprocessor(**SMALL).clean(given)
    assert kept.index.tolist() == [40]
    assert kept["group"].tolist() == ["u"]
    assert "error" not in kept
    assert [(drop.row, drop.why) for drop in dropped] == [
        (41, "has no recording"),
        (42, "is not a WAV, FLAC or OGG file"),
        (43, "is cut short: 456 of 1440 bytes of sound are present"),
        (44, "cannot be read"),
        (45, "is empty"),
    ]


def test_the_two_pitches_are_told_apart_by_their_loudest_band(rows: pd.DataFrame) -> None:
    spectra = only(fitted(rows).transform(rows)).astype(float).sum(axis=1)
    loudest = spectra.argmax(axis=1)
    assert loudest[:8].min() > loudest[8:].max()


def test_preview_shows_the_spectrogram_or_the_tokens(rows: pd.DataFrame) -> None:
    made = fitted(rows)
    shown = made.preview(made.transform(rows), 0)
    assert shown.image is not None
    assert shown.image.dtype == np.uint8
    assert shown.image.shape == (16, 12, 3)
    assert shown.text == "0.08 s"
    quantised = fitted(rows, **KINDS[2])
    told = quantised.preview(quantised.transform(rows), 0)
    assert told.image is None
    assert str(told.text).startswith("0.08 s: ")


def test_requests_come_from_recordings_folders_and_parquet(root: Path, rows: pd.DataFrame, tmp_path: Path) -> None:
    made = fitted(rows)
    folder = root / "tests/fixtures/tones"
    rows[["audio", "label", "file"]][:3].to_parquet(tmp_path / "a.parquet")
    requests = made.read_requests([folder / "low/dan_1.ogg", folder, tmp_path / "a.parquet"])
    expected = pd.concat([rows[15:16], rows, rows[:3]])
    np.testing.assert_array_equal(only(made.transform(requests)), only(made.transform(expected)))
    assert requests["file"].tolist()[:2] == [str(folder / "low/dan_1.ogg"), str(folder / "high/anna_0.wav")]
    assert requests["row"].tolist()[-3:] == [0, 1, 2]
    assert requests["label"].tolist()[-1] == "high"
    assert requests.index.tolist() == list(range(20))


def test_requests_that_cannot_be_read_are_named(tmp_path: Path, rows: pd.DataFrame) -> None:
    made = fitted(rows)
    (tmp_path / "a.txt").write_text("x")
    pd.DataFrame({"sound": [b"x"]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"audio": []}).to_parquet(tmp_path / "none.parquet")
    for path, why in (
        (tmp_path / "none.wav", "no such file"),
        (tmp_path / "a.txt", r"files of type '\.txt' are not supported; give \.wav"),
        (tmp_path / "a.parquet", "has no column 'audio'"),
        (tmp_path / "none.parquet", "has no rows"),
        (tmp_path, "holds no recordings"),
    ):
        with pytest.raises(DataError, match=why):
            made.read_requests([path])
    with pytest.raises(DataError, match="no files given"):
        made.read_requests([])
    (tmp_path / "b.wav").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"b\.wav, row 0: is not a WAV, FLAC or OGG file"):
        made.transform(made.read_requests([tmp_path / "b.wav"]))


def test_schema_names_the_one_input(rows: pd.DataFrame) -> None:
    schema = fitted(rows).schema()
    assert list(schema["properties"]) == schema["required"] == ["audio"]
    assert schema["properties"]["audio"]["contentEncoding"] == "base64"


@pytest.mark.parametrize(
    "options",
    [{"features": "raw"}, {"num_coefficients": 17, "num_mels": 16}, {"vocabulary_size": 2}, {"sample_rate_hz": 0},
     {"too_long": "?"}, {"hop_ms": 50.0}],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|required|above 0"):
        AudioPreprocessor(**options)


def test_unfitted_and_broken_states_are_refused(rows: pd.DataFrame) -> None:
    for use in (AudioPreprocessor().meta, AudioPreprocessor().to_json, lambda: AudioPreprocessor().transform(rows)):
        with pytest.raises(DataError, match="fit it first"):
            use()
    with pytest.raises(DataError, match="no recordings to learn from"):
        AudioPreprocessor().fit([])
    with pytest.raises(DataError, match="has no column 'audio'"):
        AudioPreprocessor().fit([pd.DataFrame({"sound": [b""]})])
    state = fitted(rows, **KINDS[2]).to_json()
    broken = [{k: v for k, v in state.items() if k != "fitted"}, {**state, "features": "?"}, {**state, "odd": 1},
              {**state, "num_coefficients": 3}, {**state, "fitted": {**state["fitted"], "codebook": {}}}]  # fmt: skip
    for one in broken:
        with pytest.raises(DataError, match=r"preprocessor\.json: its inputs are not an AudioPreprocessor's"):
            AudioPreprocessor.from_json(one)

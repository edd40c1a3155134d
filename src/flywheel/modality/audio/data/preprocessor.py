"""Recordings: decoded, trimmed and cut into frames, kept as spectra of one byte a value, or as tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from flywheel.modality.audio.data.clip import Clip, ClipSettings
from flywheel.modality.audio.data.codebook import (
    FrameSample,
    codebook_from_json,
    codebook_to_json,
    fit_codebook,
    nearest_codes,
)
from flywheel.modality.audio.data.features import FrameSettings, log_mel, mfcc, padded
from flywheel.modality.audio.data.file import AudioError
from flywheel.modality.audio.data.requests import read_audio_requests
from flywheel.modality.audio.data.spectrum import PADDING_VALUE, Moments, clip_sums, pack, packed_meta, picture
from flywheel.preprocessor.base import DIGEST_BYTES, Preprocessor, digests_of, target_name
from flywheel.preprocessor.chunks import mapped
from flywheel.project.errors import DataError
from flywheel.project.types import Dropped, Json, Preview
from flywheel.reader.format.table_file import TableFormat
from flywheel.reader.format.value import object_column

Array = np.ndarray[Any, Any]

FEATURES = ("log_mel", "mfcc", "quantised")
FIRST_TOKEN = 2  # 0 is padding, 1 is the out-of-vocabulary token of texts, which no frame becomes
BLOCK_FRAMES = 16384  # computed at a time: of 25 ms at 8 kHz they take 40 MB


class AudioPreprocessor(Preprocessor):
    """Recordings in the column `audio`, as `flywheel.modality.audio.data.clip.as_recording` takes them.

    Args:
        sample_rate_hz: Every recording is brought to this rate.
        max_seconds: Longest clip, after silence is cut off at both ends.
        too_long: `cut` or `drop` longer ones.
        trim_db: Silence is sound that is so many decibels below the loudest 10 ms; None: nothing is cut off.
        normalise_level: Whether every clip is made as loud as full scale allows.
        features: `log_mel`, `mfcc`, or `quantised` (each frame's MFCC become the number of the nearest of
            `vocabulary_size` - 2 typical frames).
        num_mels: Number of mel bands.
        frame_ms: Length of a frame.
        hop_ms: Distance between the beginnings of two frames.
        low_hz: Lower end of the lowest band.
        high_hz: Upper end of the highest band; None: half of the rate.
        num_coefficients: Number of MFCC.
        vocabulary_size: Number of tokens, 0 (padding) and 1 (never given) included.
        seed: Seed of the first guess of the typical frames.
    """

    def __init__(
        self,
        sample_rate_hz: int = 16000,
        max_seconds: float = 1.0,
        too_long: str = "cut",
        trim_db: float | None = 40.0,
        normalise_level: bool = True,
        features: str = "log_mel",
        num_mels: int = 40,
        frame_ms: float = 25.0,
        hop_ms: float = 10.0,
        low_hz: float = 20.0,
        high_hz: float | None = None,
        num_coefficients: int = 13,
        vocabulary_size: int = 1000,
        seed: int = 0,
    ) -> None:
        if features not in FEATURES:
            raise ValueError(f"features must be one of {', '.join(FEATURES)}, not '{features}'")
        if not 1 <= num_coefficients <= num_mels or vocabulary_size <= FIRST_TOKEN:
            raise ValueError(f"1 <= num_coefficients <= num_mels, vocabulary_size > {FIRST_TOKEN} are required")
        self.clips = ClipSettings(sample_rate_hz, max_seconds, too_long, trim_db, normalise_level)
        self.frames = FrameSettings(sample_rate_hz, frame_ms, hop_ms, num_mels, low_hz, high_hz)
        self.features, self.num_coefficients = features, num_coefficients
        self.vocabulary_size, self.seed = vocabulary_size, seed
        self._mean: list[float] = []
        self._std: list[float] = []
        self._codebook: Array | None = None

    @property
    def max_frames(self) -> int:
        """Frames of the longest clip."""
        return int(self.frames.num_frames(self.clips.max_samples))

    def fit(self, chunks: Iterable[pd.DataFrame]) -> None:
        """Learn each band's mean and standard deviation and, for tokens, the typical frames."""
        moments, sample = Moments(), FrameSample()
        for found in mapped(self._summed, chunks):
            for sums, num_frames, spectra in found:
                moments.add(sums, num_frames)
                if spectra is not None:
                    sample.add(spectra)
        self._mean, self._std = moments.mean_and_std()
        if not self._mean:
            raise DataError("train", None, "holds no recordings to learn from")
        if self.features == "quantised":
            num_codes = self.vocabulary_size - FIRST_TOKEN
            self._codebook = fit_codebook(self._standardised(sample.frames()), num_codes, self.seed)

    def clean(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Dropped]]:
        """Decode, resample and trim; what fails is dropped with its reason."""
        known = frame["error"] if "error" in frame.columns else pd.Series(None, index=frame.index, dtype=object)
        clips, good, dropped = [], [], []
        for position, (row, value, error) in enumerate(zip(frame.index, _recordings(frame), known, strict=True)):
            try:
                if isinstance(error, str) and error:
                    raise AudioError(error)
                clips.append(self.clips.clip(value))
                good.append(position)
            except AudioError as problem:
                dropped.append(Dropped(int(row), str(problem)))
        kept = frame.iloc[good] if dropped else frame
        return kept.drop(columns="error", errors="ignore").assign(audio=object_column(clips)), dropped

    def transform(self, frame: pd.DataFrame) -> dict[str, Array]:
        """Give `spectrogram`, uint8 [N, T, F] (see `audio_spectrum`); of quantised features `tokens`, int32 [N, T]."""
        self._need_fit()
        blocks = [padded(self._stored(spectra), number, self.max_frames) for spectra, number in self._spectra(frame)]
        if self.features == "quantised":
            return {"tokens": np.concatenate([np.empty((0, self.max_frames), np.int32), *blocks])}
        return {"spectrogram": np.concatenate([np.empty((0, self.max_frames, self._num_bands), np.uint8), *blocks])}

    def digest(self, frame: pd.DataFrame) -> Array:
        """Hash the samples of cleaned clips."""
        samples = (self.clips.clip(value).samples for value in _recordings(frame))
        return digests_of(hashlib.blake2b(one.data, digest_size=DIGEST_BYTES).digest() for one in samples)

    def meta(self) -> Json:
        """`inputs`, `sample_rate_hz`, `sequence_length`, and `num_bands` with `padding_value`, or `vocabulary_size`."""
        self._need_fit()
        length = self.max_frames
        shared: Json = {"sample_rate_hz": self.clips.rate_hz, "sequence_length": length}
        if self.features == "quantised":
            tokens: Json = {"dtype": "int32", "shape": [length], "padding": 0}
            return {"inputs": {"tokens": tokens}, **shared, "vocabulary_size": self.vocabulary_size}
        bands = self._num_bands
        return {
            "inputs": {"spectrogram": packed_meta(length, bands)},
            **shared,
            "num_bands": bands,
            "num_features": length * bands,
            "padding_value": PADDING_VALUE,
        }

    def schema(self) -> Json:
        """One request: `audio`, base64 of a WAV, FLAC or OGG file."""
        about = f"a WAV, FLAC or OGG file; of more than {self.clips.max_seconds:g} s of sound "
        about += "the end is left out" if self.clips.too_long == "cut" else "it is refused"
        audio = {"type": "string", "contentEncoding": "base64", "contentMediaType": "audio/wav", "description": about}
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"audio": audio},
            "required": ["audio"],
        }

    def preview(self, inputs: dict[str, Array], index: int) -> Preview:
        """The spectrogram with the clip's length in seconds, or the tokens, a run of equal ones once."""
        hop_seconds = self.frames.hop_samples / self.clips.rate_hz
        if self.features == "quantised":
            tokens = inputs["tokens"][index]
            tokens = tokens[tokens > 0]
            changes = tokens[np.flatnonzero(np.diff(tokens, prepend=-1))]
            return Preview(text=f"{len(tokens) * hop_seconds:.2f} s: {' '.join(map(str, changes.tolist()))}")
        packed = inputs["spectrogram"][index]
        return Preview(image=picture(packed), text=f"{int(packed.any(axis=1).sum()) * hop_seconds:.2f} s")

    def read_requests(self, paths: Sequence[Path], table: TableFormat | None = None) -> pd.DataFrame:
        """Read recordings, folders of them, and Parquet files with encoded recordings in the column `audio`."""
        return read_audio_requests(paths)

    def to_json(self) -> Json:
        """The arguments, and under `fitted` what was learnt."""
        self._need_fit()
        fitted: Json = {"mean": self._mean, "std": self._std}
        if self._codebook is not None:
            fitted["codebook"] = codebook_to_json(self._codebook)
        return {"_target_": target_name(type(self)), **self._arguments(), "fitted": fitted}

    @classmethod
    def from_json(cls, state: Json) -> AudioPreprocessor:
        """Rebuild a fitted preprocessor."""
        try:
            made = cls(**{key: value for key, value in state.items() if key not in ("_target_", "fitted")})
            fitted = state["fitted"]
            made._mean, made._std = [float(v) for v in fitted["mean"]], [float(v) for v in fitted["std"]]
            if made.features == "quantised":
                made._codebook = codebook_from_json(fitted["codebook"])
            if len(made._mean) != made._num_bands or len(made._std) != made._num_bands:
                raise ValueError(f"{len(made._mean)} means for {made._num_bands} bands")
        except (KeyError, TypeError, ValueError) as error:
            why = f"its inputs are not an AudioPreprocessor's: {error!r}"
            raise DataError("preprocessor.json", None, why, fix="run the preprocess stage again") from None
        return made

    @property
    def _num_bands(self) -> int:
        return self.frames.num_mels if self.features == "log_mel" else self.num_coefficients

    def _arguments(self) -> Json:
        clips, frames = self.clips, self.frames
        return {
            "sample_rate_hz": clips.rate_hz,
            "max_seconds": clips.max_seconds,
            "too_long": clips.too_long,
            "trim_db": clips.trim_db,
            "normalise_level": clips.normalise_level,
            "features": self.features,
            "num_mels": frames.num_mels,
            "frame_ms": frames.frame_ms,
            "hop_ms": frames.hop_ms,
            "low_hz": frames.low_hz,
            "high_hz": frames.high_hz,
            "num_coefficients": self.num_coefficients,
            "vocabulary_size": self.vocabulary_size,
            "seed": self.seed,
        }

    def _spectra(self, frame: pd.DataFrame) -> Iterator[tuple[Array, Array]]:
        """Compute the features of some clips at a time: float32 [frames of them all, F], and how many each has, [n]."""
        values = list(_recordings(frame))
        rows = max(1, BLOCK_FRAMES // self.max_frames)
        for start in range(0, len(values), rows):
            places = range(start, min(start + rows, len(values)))
            clips = [self._clip(frame, place, values[place]).samples for place in places]
            num_frames = np.array([self.frames.num_frames(len(samples)) for samples in clips])
            spectra = log_mel(clips, self.frames)
            yield spectra if self.features == "log_mel" else mfcc(spectra, self.num_coefficients), num_frames

    def _summed(self, frame: pd.DataFrame) -> list[tuple[Array, int, Array | None]]:
        """What `fit` needs of some rows, block by block: sums of each clip, the number of frames, frames to sample."""
        quantised = self.features == "quantised"
        return [(clip_sums(spectra, number), int(number.sum()), spectra if quantised else None)
                for spectra, number in self._spectra(frame)]  # fmt: skip

    def _clip(self, frame: pd.DataFrame, position: int, value: Any) -> Clip:
        try:
            return self.clips.clip(value)
        except AudioError as problem:
            file = str(frame["file"].iloc[position]) if "file" in frame.columns else "input"
            row = frame["row"].iloc[position] if "row" in frame.columns else frame.index[position]
            raise DataError(file, int(row), str(problem)) from None

    def _standardised(self, spectra: Array) -> Array:
        mean, std = np.asarray(self._mean, np.float32), np.asarray(self._std, np.float32)
        return (spectra - mean) / std

    def _stored(self, spectra: Array) -> Array:
        """What is stored of frames [M, F]: one byte a value, or a token each, [M]; 0 is left for padding."""
        deviations = self._standardised(spectra)
        if self._codebook is None:
            return pack(deviations)
        return nearest_codes(deviations, self._codebook) + np.int32(FIRST_TOKEN)

    def _need_fit(self) -> None:
        if not self._mean:
            raise DataError("preprocessor", None, "has seen no recording yet", fix="fit it first")


def _recordings(frame: pd.DataFrame) -> Iterable[Any]:
    if "audio" not in frame.columns:
        raise DataError("input", None, "has no column 'audio'")
    return cast("Iterable[Any]", frame["audio"].to_numpy())

"""Pictures: decoded, brought to one size and number of channels, kept as uint8; scaling is left to the network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from flywheel.modality.image.data.file import ImageError
from flywheel.modality.image.data.levels import SixteenBits, level_counts, moments
from flywheel.modality.image.data.pixels import as_pixels, resize, to_colour, to_grey
from flywheel.modality.image.data.requests import read_image_requests
from flywheel.preprocessor.base import DIGEST_BYTES, Preprocessor, digests_of, target_name
from flywheel.preprocessor.chunks import mapped
from flywheel.project.errors import DataError
from flywheel.project.types import Dropped, Json, Preview
from flywheel.reader.format.table_file import TableFormat
from flywheel.reader.format.value import object_column

NORMALISE = ("standard", "unit")


class ImagePreprocessor(Preprocessor):
    """Pictures in the column `image`, as `flywheel.modality.image.data.pixels.as_pixels` takes them.

    Args:
        image_size: [height, width] that every picture is resized to; None: all must have the size of the first.
        channels: 1 (grey) or 3 (colour) that every picture is converted to; None: as the first picture has.
        normalise: `standard` (mean 0, deviation 1 per channel over train) or `unit` (0 to 1).
        sixteen_bit_range: [black, white]: the levels of pictures with 16 bits a channel that become 0 and 255; None:
            learnt from those of train (`image_levels.learn_range`), or all 65,536 where train has none.
    """

    def __init__(
        self, image_size: Sequence[int] | None = None, channels: int | None = None, normalise: str = "standard",
        sixteen_bit_range: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        if image_size is not None and (len(image_size) != 2 or min(image_size) < 1):
            raise ValueError(f"image_size {image_size} is not [height, width]")
        if channels not in (None, 1, 3):
            raise ValueError(f"channels must be 1, 3 or null, not {channels}")
        if normalise not in NORMALISE:
            raise ValueError(f"normalise must be one of {', '.join(NORMALISE)}, not '{normalise}'")
        self.image_size = None if image_size is None else (int(image_size[0]), int(image_size[1]))
        self.channels, self.normalise = channels, normalise
        self.sixteen_bits = SixteenBits(sixteen_bit_range)
        # What is learnt: size and channels from the first good picture, mean and std from all of train.
        self._size, self._channels = self.image_size, channels
        self._mean: list[float] = []
        self._std: list[float] = []

    @property
    def fitted(self) -> bool:
        """Whether `fit` has run."""
        return bool(self._mean)

    def fit(self, chunks: Iterable[pd.DataFrame]) -> None:
        """Learn the range of 16-bit pixels, and each channel's mean and deviation, from exact counts of each level."""
        self._mean, self._std, self.sixteen_bits.levels = [], [], self.sixteen_bits.stated
        counts: list[np.ndarray[Any, Any]] = []  # of pixels of 8 bits, and of 16
        for found in mapped(self._counted, chunks):
            counts = [old + new for old, new in zip(counts, found, strict=True)] if counts else found
        if not counts or not (counts[0].any() or counts[1].any()):
            raise DataError("train", None, "holds no pictures to learn from")
        for count in counts[0] + self.sixteen_bits.learn(counts[1]):
            mean, std = (0.0, 255.0) if self.normalise == "unit" else moments(count)
            self._mean.append(mean)
            self._std.append(std)

    @property
    def settled(self) -> bool:
        """Whether size and channels are known: the first good picture decides what nothing sets."""
        return self._row_shape is not None

    def clean(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Dropped]]:
        """Decode, convert and resize; what fails is dropped with its reason."""
        known = frame["error"] if "error" in frame.columns else pd.Series(None, index=frame.index, dtype=object)
        images, good, dropped = [], [], []
        for position, (row, value, error) in enumerate(zip(frame.index, _images(frame), known, strict=True)):
            try:
                if isinstance(error, str) and error:
                    raise ImageError(error)
                images.append(self._standard(value))
                good.append(position)
            except ImageError as problem:
                dropped.append(Dropped(int(row), str(problem)))
        kept = frame.iloc[good] if dropped else frame
        kept = kept.drop(columns="error", errors="ignore").assign(image=object_column(images))
        return kept, dropped

    def transform(self, frame: pd.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
        """Give `image`: uint8 [N, C, H, W]."""
        images = []
        for position, value in enumerate(_images(frame)):
            try:
                images.append(self._standard(value))
            except ImageError as problem:
                raise _row_error(frame, position, str(problem)) from None
        height, width, channels = self._shape()
        if not images:
            return {"image": np.empty((0, channels, height, width), np.uint8)}
        stacked = np.stack(images)
        stacked = stacked[:, None] if channels == 1 else stacked.transpose(0, 3, 1, 2)
        return {"image": np.ascontiguousarray(stacked)}

    def digest(self, frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        """Hash the pixels; cleaned pictures have one size and one number of channels."""
        pixels = (np.ascontiguousarray(image).data for image in _images(frame))
        return digests_of(hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest() for data in pixels)

    def meta(self) -> Json:
        """`inputs.image` with its scaling, `num_features`, `num_channels` and `image_size`."""
        height, width, channels = self._shape()
        image: Json = {"dtype": "uint8", "shape": [channels, height, width], "mean": self._mean, "std": self._std}
        return {
            "inputs": {"image": image},
            "num_features": channels * height * width,
            "num_channels": channels,
            "image_size": [height, width],
        }

    def schema(self) -> Json:
        """One request: `image` as base64 of a PNG, JPEG, BMP, GIF or WebP file, or as nested lists of 0..255."""
        height, width, channels = self._shape()
        level: Json = {"type": "integer", "minimum": 0, "maximum": 255}
        pixel = level if channels == 1 else {"type": "array", "items": level, "minItems": 3, "maxItems": 3}
        rows: Json = {"type": "array", "items": {"type": "array", "items": pixel}}
        if self.image_size is None:
            rows |= {"minItems": height, "maxItems": height}
            rows["items"] |= {"minItems": width, "maxItems": width}
        encoded = {"type": "string", "contentEncoding": "base64", "description": "a PNG, JPEG, BMP, GIF or WebP file"}
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"image": {"anyOf": [encoded, rows]}},
            "required": ["image"],
        }

    def facts(self) -> Json:
        """The range of 16-bit pixels, where train has such: as it is used, as found, and how many levels are left."""
        return self.sixteen_bits.facts

    def preview(self, inputs: dict[str, np.ndarray[Any, Any]], index: int) -> Preview:
        """The picture itself."""
        pixels = inputs["image"][index]
        return Preview(image=pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))

    def read_requests(self, paths: Sequence[Path], table: TableFormat | None = None) -> pd.DataFrame:
        """Read picture files, folders of them, and .npy, .csv and .parquet files with a picture a row."""
        return read_image_requests(paths, self._shape())

    def to_json(self) -> Json:
        """The arguments, and under `fitted` what was learnt."""
        height, width, channels = self._shape()
        return {
            "_target_": target_name(type(self)),
            "image_size": None if self.image_size is None else list(self.image_size),
            "channels": self.channels,
            "normalise": self.normalise,
            "sixteen_bit_range": None if self.sixteen_bits.stated is None else list(self.sixteen_bits.stated),
            "fitted": {
                "image_size": [height, width],
                "channels": channels,
                "mean": self._mean,
                "std": self._std,
                "sixteen_bit_range": self.sixteen_bits.to_json(),
            },
        }

    @classmethod
    def from_json(cls, state: Json) -> ImagePreprocessor:
        """Rebuild a fitted preprocessor."""
        try:
            made = cls(state["image_size"], state["channels"], state["normalise"])
            fitted = state["fitted"]
            # Versions that were registered before there was a range have none, and go on being served.
            made.sixteen_bits = SixteenBits.from_json(state.get("sixteen_bit_range"), fitted.get("sixteen_bit_range"))
            height, width = fitted["image_size"]
            made._size, made._channels = (int(height), int(width)), int(fitted["channels"])
            made._mean, made._std = [float(v) for v in fitted["mean"]], [float(v) for v in fitted["std"]]
        except (KeyError, TypeError, ValueError) as error:
            why = f"its inputs are not an ImagePreprocessor's: {error!r}"
            raise DataError("preprocessor.json", None, why, fix="run the preprocess stage again") from None
        return made

    def _counted(self, frame: pd.DataFrame) -> list[np.ndarray[Any, Any]]:
        """How often each level of 8 bits occurs in each channel, and of 16 bits: int64 [C, 256] and [C, 65536]."""
        pictures = [self._standard(value) for value in _images(frame)]
        return [level_counts(pictures, self._shape()[2], dtype) for dtype in (np.uint8, np.uint16)]

    def _standard(self, value: Any) -> np.ndarray[Any, Any]:
        """Bring a picture to the size and the channels of all; the first one decides where nothing is set."""
        if type(value) is np.ndarray and value.dtype == np.uint8 and value.shape == self._row_shape:
            return value  # nearly every row of a data set comes this way
        is_ranged = self.sixteen_bits.levels is not None
        pixels = self._sized(as_pixels(value, sixteen_bits=is_ranged or not self.fitted))
        # Until `fit` has learnt their range, pixels of 16 bits stay what they are.
        return (
            self.sixteen_bits.to_bytes(pixels) if pixels.dtype == np.uint16 and (is_ranged or self.fitted) else pixels
        )

    def _sized(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Bring pixels to the channels and the size of all."""
        if self._channels is None:
            self._channels = 1 if pixels.ndim == 2 else 3
        if self._channels == 1 and pixels.ndim == 3:
            grey = bool((pixels == pixels[:, :, :1]).all())
            # A fitted preprocessor converts what users send; in a new data set, mixed kinds are for a person to decide.
            if not grey and self.channels is None and not self.fitted:
                raise ImageError("is in colour, the first picture is grey (preprocess.inputs.channels decides)")
            pixels = pixels[:, :, 0] if grey else to_grey(pixels)
        elif self._channels == 3 and pixels.ndim == 2:
            pixels = to_colour(pixels)
        size = (pixels.shape[0], pixels.shape[1])
        if self._size is None:
            self._size = size
        if size == self._size:
            return pixels
        if self.image_size is None:
            wanted = f"{self._size[0]}x{self._size[1]}"
            raise ImageError(f"is {size[0]}x{size[1]}, not {wanted} (preprocess.inputs.image_size resizes)")
        return resize(pixels, self._size)

    @property
    def _row_shape(self) -> tuple[int, ...] | None:
        """Shape of a picture after `_standard`, once it is known."""
        if self._size is None or self._channels is None:
            return None
        return self._size if self._channels == 1 else (*self._size, 3)

    def _shape(self) -> tuple[int, int, int]:
        if self._size is None or self._channels is None:
            raise DataError("preprocessor", None, "has seen no picture yet", fix="fit it first")
        return *self._size, self._channels


def _images(frame: pd.DataFrame) -> Iterable[Any]:
    if "image" not in frame.columns:
        raise DataError("input", None, "has no column 'image'")
    return cast("np.ndarray[Any, Any]", frame["image"].to_numpy())


def _row_error(frame: pd.DataFrame, position: int, why: str) -> DataError:
    file = str(frame["file"].iloc[position]) if "file" in frame.columns else "input"
    row = frame["row"].iloc[position] if "row" in frame.columns else frame.index[position]
    return DataError(file, int(row), why)

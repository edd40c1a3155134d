"""Texts: cleaned, parted into tokens, and laid out as rows of ids with padding on the right."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from flywheel.modality.text.data.cleaning import TextCleaning, near_text
from flywheel.modality.text.data.counts import count_tokens, describe_counts
from flywheel.modality.text.data.tokeniser.word import WordTokeniser
from flywheel.preprocessor.base import RESERVED_COLUMNS, Preprocessor, rebuild, target_name
from flywheel.preprocessor.chunks import Mapped
from flywheel.preprocessor.table_requests import read_table_requests
from flywheel.preprocessor.tokeniser import PADDING_ID, TRUNCATE, Tokeniser
from flywheel.project.errors import DataError
from flywheel.project.kind import TOKENISER
from flywheel.project.types import Dropped, Json, Preview
from flywheel.reader.format.table_file import TableFormat

INPUT = "tokens"
CHARACTERS = "characters"
PREVIEW_CHARACTERS = 400
OPTIONS = ("column", "cleaning", "max_length", "truncate", "share_vocabulary")
NEAR_BYTES = 8


class TextPreprocessor(Preprocessor):
    """Texts in one column of a frame.

    Args:
        tokeniser: Learns on train, unless it is pretrained.
        column: Column of the texts.
        cleaning: Options of `flywheel.modality.text.data.cleaning.TextCleaning`; those left out have its defaults.
        max_length: Tokens a row holds; longer texts are cut, and counted in `profile.json`.
        truncate: Which part of a longer text is kept: `head`, `tail` or `head_tail`.
        share_vocabulary: Whether `meta.json` lists the words, for nets that bring vectors of their own
            (`flywheel.model.word_vectors`); a word tokeniser is needed.
        num_characters: Bytes of the lower-case text that nets get as well, in `characters`
            (`flywheel.model.ngram_linear`): they tell something of words that the tokeniser does not know. 0: none.
    """

    def __init__(
        self,
        tokeniser: Tokeniser,
        column: str = "text",
        cleaning: Mapping[str, Any] | None = None,
        max_length: int = 128,
        truncate: str = "head",
        share_vocabulary: bool = False,
        num_characters: int = 0,
    ) -> None:
        if not isinstance(tokeniser, Tokeniser):
            raise ValueError(f"tokeniser is not a Tokeniser but a {type(tokeniser).__name__}: name its _target_")
        if column in RESERVED_COLUMNS:
            raise ValueError(f"column '{column}' is reserved; rename it in the data")
        room = max_length - len(tokeniser.first_ids) - len(tokeniser.last_ids)
        if room < 1:
            raise ValueError(f"max_length {max_length} leaves no room for tokens")
        if truncate not in TRUNCATE:
            raise ValueError(f"truncate must be one of {', '.join(TRUNCATE)}, not '{truncate}'")
        self.tokeniser, self.column, self.max_length, self.truncate = tokeniser, column, max_length, truncate
        self.cleaning = TextCleaning(**(cleaning or {}))
        if share_vocabulary and not isinstance(tokeniser, WordTokeniser):
            raise ValueError("share_vocabulary needs a WordTokeniser: others have no words")
        if num_characters < 0:
            raise ValueError(f"num_characters must be 0 or more, not {num_characters}")
        self.share_vocabulary, self.num_characters = share_vocabulary, num_characters

    def fit(self, chunks: Iterable[pd.DataFrame]) -> None:
        """Let the tokeniser learn from the cleaned texts."""
        self.tokeniser.fit(Mapped(self._texts, chunks))

    def clean(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Dropped]]:
        """Clean the texts; missing and empty ones are dropped, and those that the reader could not read."""
        known = frame["error"] if "error" in frame.columns else pd.Series(None, index=frame.index, dtype=object)
        texts, good, dropped = [], [], []
        for position, (row, value, error) in enumerate(zip(frame.index, self._values(frame), known, strict=True)):
            try:
                if isinstance(error, str) and error:
                    raise _TextError(error)
                texts.append(self._cleaned(value))
                good.append(position)
            except _TextError as problem:
                dropped.append(Dropped(int(row), str(problem)))
        kept = frame.iloc[good] if dropped else frame
        column = np.array([*texts, None], dtype=object)[:-1]
        return kept.drop(columns="error", errors="ignore").assign(**{self.column: column}), dropped

    def transform(self, frame: pd.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
        """Give `tokens`, int32 [N, max_length], and where asked for `characters`, uint8 [N, num_characters]."""
        texts = self._texts(frame)
        inputs = {INPUT: self.tokeniser.encode(texts, self.max_length, self.truncate)}
        return inputs | ({CHARACTERS: _bytes(texts, self.num_characters)} if self.num_characters else {})

    def digest(self, frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        """Hash the cleaned text alone: other columns are not inputs."""
        return super().digest(frame[[self.column]])

    def near(self, frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        """Fingerprint what `near_text` leaves of each cleaned text, uint64 [N].

        Equal ones are near-duplicates; where nothing is left, the text itself counts.
        """
        texts = cast("list[str]", frame[self.column].tolist())
        keys = ((near_text(text) or text).encode() for text in texts)
        digests = b"".join(hashlib.blake2b(key, digest_size=NEAR_BYTES).digest() for key in keys)
        return np.frombuffer(digests, dtype="<u8")

    def statistics(self, frame: pd.DataFrame, inputs: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
        """Count tokens, unknown and truncated ones, and lengths."""
        return count_tokens(self.tokeniser, inputs[INPUT], lambda rows: self._texts(frame.iloc[rows]))

    def describe(self, statistics: dict[str, Any]) -> Json:
        """Make rates of a split's sums: `mean_length`, `unknown_rate`, `truncated`, `lengths`."""
        return describe_counts(statistics)

    def facts(self) -> Json:
        """The size of the vocabulary, and how long rows are."""
        return {"vocabulary_size": self.tokeniser.vocabulary_size, "sequence_length": self.max_length}

    def meta(self) -> Json:
        """`inputs` with their padding, `vocabulary_size`, `sequence_length`; `vocabulary` where it is shared."""
        inputs: Json = {INPUT: {"dtype": "int32", "shape": [self.max_length], "padding": PADDING_ID}}
        if self.num_characters:
            inputs[CHARACTERS] = {"dtype": "uint8", "shape": [self.num_characters], "padding": PADDING_ID}
        shared = self.tokeniser.vocabulary if isinstance(self.tokeniser, WordTokeniser) else []
        return {
            **({"vocabulary": shared} if self.share_vocabulary else {}),
            "inputs": inputs,
            "vocabulary_size": self.tokeniser.vocabulary_size,
            "sequence_length": self.max_length,
        }

    def schema(self) -> Json:
        """One request: the text, as a string."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {self.column: {"type": "string", "minLength": 1, "description": "a text"}},
            "required": [self.column],
        }

    def preview(self, inputs: dict[str, np.ndarray[Any, Any]], index: int) -> Preview:
        """What the network sees of a text, shortened."""
        return Preview(text=_shortened(self.tokeniser.decode(inputs[INPUT][index].tolist())))

    @property
    def has_words(self) -> bool:
        """Yes: tokens have lost capitals, spaces, and words that are rare."""
        return True

    def words(self, frame: pd.DataFrame) -> list[str]:
        """The texts as they were written."""
        return [_shortened(str(text)) for text in frame[self.column]]

    def read_requests(self, paths: Sequence[Path], table: TableFormat | None = None) -> pd.DataFrame:
        """Read .txt files (a text each), and CSV, JSONL and Parquet files with the column."""
        return read_table_requests(paths, [self.column], text_files=True, own=table)

    def to_json(self) -> Json:
        """The arguments, and the tokeniser with what it learnt."""
        return {
            "_target_": target_name(type(self)),
            "column": self.column,
            "cleaning": self.cleaning.to_json(),
            "max_length": self.max_length,
            "truncate": self.truncate,
            "share_vocabulary": self.share_vocabulary,
            "num_characters": self.num_characters,
            "tokeniser": self.tokeniser.to_json(),
        }

    @classmethod
    def from_json(cls, state: Json) -> TextPreprocessor:
        """Rebuild a fitted preprocessor.

        Raises:
            DataError: The state lacks something.
            ConfigError: Its tokeniser is outside the allow-list.
        """
        try:
            tokeniser = rebuild(state["tokeniser"], TOKENISER, "preprocessor.json", "inputs.tokeniser")
            # Versions that were registered before there were characters have no number of them.
            number = state.get("num_characters", 0)
            return cls(tokeniser, **{key: state[key] for key in OPTIONS}, num_characters=number)
        except (KeyError, TypeError, ValueError) as error:
            why = f"its inputs are not a TextPreprocessor's: {error!r}"
            raise DataError("preprocessor.json", None, why, fix="run the preprocess stage again") from None

    def _values(self, frame: pd.DataFrame) -> list[Any]:
        if self.column not in frame.columns:
            raise DataError("input", None, f"has no column '{self.column}'", fix="fix preprocess.inputs.column")
        return frame[self.column].tolist()

    def _cleaned(self, value: Any) -> str:
        if not isinstance(value, str):
            if value is None or value is pd.NA or value != value:  # NaN is the missing value of numbers
                raise _TextError("text is missing")
            if not isinstance(value, int | float | np.number) or isinstance(value, bool):
                raise _TextError(f"is not text but a {type(value).__name__}")
            value = str(value)  # a column of texts that are all digits is read as numbers
        text = self.cleaning.clean(value)
        if not text or text.isspace():
            raise _TextError("text is empty")
        return text

    def _texts(self, frame: pd.DataFrame) -> list[str]:
        """Clean each row's text.

        Raises:
            DataError: A text is missing or empty.
        """
        texts = []
        for position, value in enumerate(self._values(frame)):
            try:
                texts.append(self._cleaned(value))
            except _TextError as problem:
                file = str(frame["file"].iloc[position]) if "file" in frame.columns else "input"
                row = frame["row"].iloc[position] if "row" in frame.columns else frame.index[position]
                raise DataError(file, int(row), str(problem)) from None
        return texts


def _bytes(texts: Sequence[str], width: int) -> np.ndarray[Any, Any]:
    """Lay out each text's first bytes (UTF-8, lower case), uint8 [N, width], with 0 on the right."""
    rows = (text.lower().encode()[:width].replace(b"\0", b" ") for text in texts)
    flat = b"".join(row.ljust(width, b"\0") for row in rows)
    return np.frombuffer(flat, dtype=np.uint8).reshape(len(texts), width)


class _TextError(ValueError):
    """Why a value cannot be a text, in words that fit after `row 3: `."""


def _shortened(text: str) -> str:
    return text if len(text) <= PREVIEW_CHARACTERS else f"{text[: PREVIEW_CHARACTERS - 1]}…"

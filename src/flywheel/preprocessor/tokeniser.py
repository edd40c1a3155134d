"""The interface of tokenisers: learn a vocabulary from train, encode, decode, and be rebuilt from JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from flywheel.project.types import Json

PADDING_ID = 0
"""Fills a row up on the right; no token ever has it."""
UNKNOWN_ID = 1
"""A token outside the vocabulary; real tokens are numbered from 2."""

TRUNCATE = ("head", "tail", "head_tail")


class Tokens(NamedTuple):
    """The tokens of several texts, one after the other.

    Attributes:
        ids: Token ids, int32 [sum of lengths].
        lengths: int64 [N], tokens of each text.
    """

    ids: np.ndarray[Any, Any]
    lengths: np.ndarray[Any, Any]


class Tokeniser(ABC):
    """Splits texts into tokens and numbers them.

    Everything that `fit` learns is in `to_json`, so that `from_json` gives an equal object.

    Attributes:
        unknown_id: Id of tokens outside the vocabulary; None: there are none.
        first_ids: Put before each text's tokens, after truncation (`[CLS]` of BERT); most tokenisers have none.
        last_ids: Put after them (`[SEP]`).
    """

    unknown_id: int | None = UNKNOWN_ID
    first_ids: tuple[int, ...] = ()
    last_ids: tuple[int, ...] = ()

    @abstractmethod
    def fit(self, chunks: Iterable[Sequence[str]]) -> None:
        """Learn from lists of training texts; where they begin and end must not matter. Pretrained ones do nothing.

        Raises:
            DataError: There are no tokens to learn from.
        """

    @abstractmethod
    def tokenise(self, texts: Sequence[str]) -> Tokens:
        """Give each text's ids, all of them, without `first_ids` and `last_ids`.

        Raises:
            DataError: It has not been fitted.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Write ids as text for a person; padding is left out. Need not be the very text that was encoded."""

    @property
    @abstractmethod
    def vocabulary_size(self) -> int:
        """How many ids there are, padding and unknown included: every id is below it.

        Raises:
            DataError: It has not been fitted.
        """

    @abstractmethod
    def to_json(self) -> Json:
        """The settings and everything learnt, with `_target_`."""

    @classmethod
    @abstractmethod
    def from_json(cls, state: Json) -> Tokeniser:
        """Rebuild what `to_json` described.

        Raises:
            KeyError, TypeError, ValueError: The state lacks something; the preprocessor makes a DataError of it.
        """

    def encode(self, texts: Sequence[str], max_length: int, truncate: str = "head") -> np.ndarray[Any, Any]:
        """Give ids, int32 [N, max_length], filled up with `PADDING_ID` on the right.

        Args:
            texts: Cleaned texts.
            max_length: Columns; `first_ids` and `last_ids` count.
            truncate: Which part of a text that is longer is kept: `head`, `tail`, or `head_tail` (half from each end;
                Sun et al. 2019, arXiv:1905.05583).
        """
        tokens = self.tokenise(texts)
        room = max_length - len(self.first_ids) - len(self.last_ids)
        return _padded(_truncated(tokens, room, truncate), max_length, self.first_ids, self.last_ids)


def _truncated(tokens: Tokens, room: int, truncate: str) -> Tokens:
    """Keep at most `room` tokens of each text."""
    ids, lengths = tokens
    if not (lengths > room).any():
        return tokens
    head = {"head": room, "tail": 0, "head_tail": (room + 1) // 2}[truncate]
    place = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    from_end = np.repeat(lengths, lengths) - place  # 1 for the last token
    kept = (place < head) | (from_end <= room - head)
    return Tokens(ids[kept], np.minimum(lengths, room))


def _padded(tokens: Tokens, max_length: int, first: Sequence[int], last: Sequence[int]) -> np.ndarray[Any, Any]:
    """Arrange texts as padded rows."""
    ids, lengths = tokens
    rows = np.full((len(lengths), max_length), PADDING_ID, np.int32)
    rows[:, : len(first)] = first
    columns = np.arange(max_length)
    start, end = len(first), len(first) + lengths[:, None]
    rows[(columns >= start) & (columns < end)] = ids
    for place, token in enumerate(last):
        rows[np.arange(len(rows)), len(first) + lengths + place] = token
    return rows


def library_of(state: Any) -> Any:
    """Rebuild a tokeniser of the library `tokenizers`, which answers some broken states with a panic of Rust's.

    Raises:
        ValueError: The library cannot read the state.
    """
    import json

    import tokenizers

    try:
        return tokenizers.Tokenizer.from_str(json.dumps(state))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic is not an Exception
        raise ValueError(f"not a tokeniser that the library can read: {str(error).partition(chr(10))[0]}") from None

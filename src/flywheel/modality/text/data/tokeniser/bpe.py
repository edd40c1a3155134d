"""Byte-pair encoding: pieces of words, learnt from train, over bytes, so that nothing is out of the vocabulary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from flywheel.preprocessor.base import target_name
from flywheel.preprocessor.tokeniser import PADDING_ID, Tokeniser, Tokens, library_of
from flywheel.project.errors import DataError
from flywheel.project.types import Json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ["[PAD]", "[UNK]"]
"""Ids 0 and 1; the second is never used, but every tokeniser's real tokens begin at 2."""
NUM_BYTES = 256


class BpeTokeniser(Tokeniser):
    """Byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909; Radford et al. 2019) of the `tokenizers` library.

    Args:
        vocabulary_size: Most ids there are: padding, one that is never used, 256 bytes, and pieces.
        min_count: Pairs that are rarer in train are not joined.
    """

    unknown_id: int | None = None

    def __init__(self, vocabulary_size: int = 8_000, min_count: int = 2) -> None:
        if vocabulary_size < NUM_BYTES + len(SPECIAL):
            raise ValueError(f"vocabulary_size must be {NUM_BYTES + len(SPECIAL)} or more, not {vocabulary_size}")
        if min_count < 1:
            raise ValueError(f"min_count must be 1 or more, not {min_count}")
        self.max_size, self.min_count = vocabulary_size, min_count
        self._library: Tokenizer | None = None

    @property
    def vocabulary_size(self) -> int:
        """All ids."""
        return int(self._fitted().get_vocab_size())

    def fit(self, chunks: Iterable[Sequence[str]]) -> None:
        """Learn which pairs to join."""
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        library = Tokenizer(models.BPE())
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        library.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.max_size, min_frequency=self.min_count, special_tokens=SPECIAL, show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        )  # fmt: skip
        texts = _Counting(chain.from_iterable(chunks))
        library.train_from_iterator(texts, trainer)
        if not texts.number:
            raise DataError("train", None, "holds no texts to learn from")
        self._hold(library)

    def tokenise(self, texts: Sequence[str]) -> Tokens:
        """Give each piece's id."""
        found = [one.ids for one in self._fitted().encode_batch_fast(list(texts), add_special_tokens=False)]
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        return Tokens(np.fromiter(chain.from_iterable(found), np.int32, int(lengths.sum())), lengths)

    def decode(self, ids: Sequence[int]) -> str:
        """Give the text back; a character that was cut in two is shown as a question mark."""
        kept = [int(one) for one in ids if one != PADDING_ID]
        return str(self._fitted().decode(kept, skip_special_tokens=True)).strip()

    def to_json(self) -> Json:
        """The arguments, and the library's own description."""
        library: dict[str, Any] = json.loads(self._fitted().to_str())
        target = target_name(type(self))
        return {
            "_target_": target, "vocabulary_size": self.max_size, "min_count": self.min_count, "library": library,
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: Json) -> BpeTokeniser:
        """Rebuild a fitted tokeniser."""
        made = cls(state["vocabulary_size"], state["min_count"])
        made._hold(library_of(state["library"]))
        return made

    def _hold(self, library: Tokenizer) -> None:
        library.encode_special_tokens = True  # a text that says "[PAD]" means these five signs
        self._library = library

    def _fitted(self) -> Tokenizer:
        if self._library is None:
            raise DataError("preprocessor", None, "its tokeniser has seen no texts yet", fix="fit it first")
        return self._library


class _Counting:
    """Passes texts on, and counts them."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.number, self._texts = 0, texts

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.number += 1
            yield text

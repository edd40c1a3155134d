"""Words as tokens: the most frequent of train have an id each, all others share one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from flywheel.preprocessor.base import target_name
from flywheel.preprocessor.chunks import mapped
from flywheel.preprocessor.tokeniser import PADDING_ID, UNKNOWN_ID, Tokeniser, Tokens
from flywheel.project.errors import DataError
from flywheel.project.types import Json

FIRST_WORD_ID = 2
PUNCTUATION = ("keep", "strip")
UNKNOWN_WORD = "[UNK]"

# Letters, digits and "_", with apostrophes inside ("don't", "rock'n'roll"); typographic ones count as well.
_WORD = r"\w+(?:['\u2019]\w+)*"
_PATTERNS = {"keep": re.compile(rf"{_WORD}|[^\w\s]"), "strip": re.compile(_WORD)}


class WordTokeniser(Tokeniser):
    """Runs of letters and digits; the vocabulary is ordered by frequency in train, then by code point.

    Args:
        vocabulary_size: Most ids there are, padding (0) and out-of-vocabulary (1) included.
        lowercase: Whether case is ignored.
        punctuation: `keep` (each mark is a token) or `strip` (marks part words and are left out).
        min_count: Words that are rarer in train are out of the vocabulary.
    """

    unknown_id: int | None = UNKNOWN_ID

    def __init__(
        self, vocabulary_size: int = 20_000, lowercase: bool = True, punctuation: str = "keep", min_count: int = 1
    ) -> None:
        if vocabulary_size <= FIRST_WORD_ID:
            raise ValueError(f"vocabulary_size must be above {FIRST_WORD_ID}, not {vocabulary_size}")
        if punctuation not in PUNCTUATION:
            raise ValueError(f"punctuation must be one of {', '.join(PUNCTUATION)}, not '{punctuation}'")
        if min_count < 1:
            raise ValueError(f"min_count must be 1 or more, not {min_count}")
        self.max_size, self.lowercase, self.punctuation, self.min_count = (
            vocabulary_size, lowercase, punctuation, min_count,
        )  # fmt: skip
        self._pattern = _PATTERNS[punctuation]
        self._words: list[str] = []
        self._ids: dict[str, int] = {}

    @property
    def words(self) -> list[str]:
        """The vocabulary; the first word has the id 2."""
        return list(self._words)

    @property
    def vocabulary(self) -> list[str]:
        """What each id stands for; nothing for padding."""
        return ["", UNKNOWN_WORD, *self._fitted()]

    @property
    def vocabulary_size(self) -> int:
        """Words, padding and out-of-vocabulary."""
        return len(self._fitted()) + FIRST_WORD_ID

    def fit(self, chunks: Iterable[Sequence[str]]) -> None:
        """Count words, and keep the most frequent."""
        counts: Counter[str] = Counter()
        for found in mapped(self._counted, chunks):
            counts.update(found)
        frequent = [item for item in counts.items() if item[1] >= self.min_count]
        if not frequent:
            why = f"holds no words that occur {self.min_count} times or more"
            raise DataError("train", None, why, fix="fix preprocess.inputs.tokeniser")
        frequent.sort(key=lambda item: (-item[1], item[0]))
        self._hold([word for word, _ in frequent[: self.max_size - FIRST_WORD_ID]])

    def tokenise(self, texts: Sequence[str]) -> Tokens:
        """Give each word's id."""
        self._fitted()
        words = [self._split(text) for text in texts]
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        known, unknown = self._ids.get, UNKNOWN_ID
        ids = np.fromiter((known(word, unknown) for word in chain.from_iterable(words)), np.int32, int(lengths.sum()))
        return Tokens(ids, lengths)

    def decode(self, ids: Sequence[int]) -> str:
        """Join the words with spaces."""
        words = self._fitted()
        named = (
            UNKNOWN_WORD if one < FIRST_WORD_ID else words[one - FIRST_WORD_ID] for one in ids if one != PADDING_ID
        )
        return " ".join(named)

    def to_json(self) -> Json:
        """The arguments and the vocabulary."""
        return {
            "_target_": target_name(type(self)),
            "vocabulary_size": self.max_size,
            "lowercase": self.lowercase,
            "punctuation": self.punctuation,
            "min_count": self.min_count,
            "words": self._fitted(),
        }

    @classmethod
    def from_json(cls, state: Json) -> WordTokeniser:
        """Rebuild a fitted tokeniser."""
        made = cls(*(state[key] for key in ("vocabulary_size", "lowercase", "punctuation", "min_count")))
        made._hold([str(word) for word in state["words"]])
        return made

    def _counted(self, texts: Sequence[str]) -> Counter[str]:
        return Counter(chain.from_iterable(map(self._split, texts)))

    def _split(self, text: str) -> list[str]:
        return self._pattern.findall(text.lower() if self.lowercase else text)

    def _hold(self, words: list[str]) -> None:
        self._words = words
        self._ids = {word: number for number, word in enumerate(words, FIRST_WORD_ID)}

    def _fitted(self) -> list[str]:
        if not self._words:
            raise DataError("preprocessor", None, "its tokeniser has seen no texts yet", fix="fit it first")
        return self._words

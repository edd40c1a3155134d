"""The tokeniser that a pretrained model was trained with, out of its `tokenizer.json` (Hugging Face's format)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flywheel.preprocessor.base import target_name
from flywheel.preprocessor.tokeniser import PADDING_ID, Tokeniser, Tokens, library_of
from flywheel.project.errors import ConfigError, DataError
from flywheel.project.types import Json
from flywheel.source.pretrained import pretrained_file

if TYPE_CHECKING:
    import tokenizers

_TEXTS_AT_A_TIME = 1024  # an encoding holds much more than its ids


class PretrainedTokeniser(Tokeniser):
    """A fixed vocabulary, such as MiniLM's WordPiece (Wu et al. 2016, arXiv:1609.08144): nothing is learnt from train.

    The ids are the model's own rows, not renumbered: 0 is padding as everywhere, `unknown_id` is the model's (100 in
    BERT's vocabularies). The whole file becomes part of `to_json`, so a server needs no download.

    Args:
        uri: Place of a `tokenizer.json`, of any kind of source.
        sha256: The sha256 of that file, in hexadecimal.
    """

    def __init__(self, uri: str, sha256: str) -> None:
        self.uri, self.sha256 = uri, sha256
        self._state: Json = {}
        self._library: tokenizers.Tokenizer | None = None

    def fit(self, chunks: Iterable[Sequence[str]]) -> None:
        """Fetch the file, or find it in the store; the texts are not looked at.

        Raises:
            ConfigError: The file is not a `tokenizer.json`, or its id 0 is not padding.
            SourceError: It cannot be had.
        """
        path = pretrained_file(self.uri, self.sha256)
        try:
            self._load(_checked(path))
        except ValueError as error:
            raise ConfigError(f"cannot be used: {error}", where=self.uri, fix="name a tokenizer.json") from None

    def tokenise(self, texts: Sequence[str]) -> Tokens:
        """Give the ids of each text's word pieces."""
        found: list[list[int]] = []
        for start in range(0, len(texts), _TEXTS_AT_A_TIME):
            part = list(texts[start : start + _TEXTS_AT_A_TIME])
            found += [item.ids for item in self._ready().encode_batch_fast(part, add_special_tokens=False)]
        lengths = np.array([len(ids) for ids in found], np.int64)
        return Tokens(np.array([number for ids in found for number in ids], np.int32), lengths)

    def decode(self, ids: Sequence[int]) -> str:
        """Join the pieces; padding and the model's own marks are left out, unknown words stay as their mark."""
        hidden = {PADDING_ID, *self.first_ids, *self.last_ids}
        text: str = self._ready().decode([int(i) for i in ids if int(i) not in hidden], skip_special_tokens=False)
        return text

    @property
    def vocabulary_size(self) -> int:
        """Rows of the model's matrix of word embeddings."""
        return int(max(self._ready().get_vocab(with_added_tokens=True).values())) + 1

    @property
    def vocabulary(self) -> list[str]:
        """The pieces by id; an id without one has the empty text."""
        pieces = [""] * self.vocabulary_size
        for piece, number in self._ready().get_vocab(with_added_tokens=True).items():
            pieces[number] = piece
        return pieces

    def to_json(self) -> Json:
        """The settings, and the content of `tokenizer.json`."""
        self._ready()
        return {"_target_": target_name(type(self)), "uri": self.uri, "sha256": self.sha256, "tokenizer": self._state}

    @classmethod
    def from_json(cls, state: Json) -> PretrainedTokeniser:
        """Rebuild it; nothing is fetched."""
        made = cls(state["uri"], state["sha256"])
        made._load(state["tokenizer"])
        return made

    def _load(self, state: Json) -> None:
        """Take the content of `tokenizer.json`.

        Raises:
            ValueError: Its id 0 is a token of texts.
        """
        # Rows are cut and filled by `encode`, as with every tokeniser.
        self._state = {**state, "truncation": None, "padding": None}
        self._library = library = library_of(self._state)
        special = {token["id"] for token in state.get("added_tokens", []) if token.get("special")}
        if PADDING_ID not in special:
            raise ValueError(f"its id {PADDING_ID} is '{library.id_to_token(PADDING_ID)}', which is not padding")
        unknown = state["model"].get("unk_token")
        self.unknown_id = None if unknown is None else library.token_to_id(unknown)
        marked = library.encode("a", add_special_tokens=True)
        marks = list(zip(marked.ids, marked.special_tokens_mask, strict=True))
        self.first_ids = tuple(number for number, special in takewhile(lambda mark: mark[1], marks))
        self.last_ids = tuple(number for number, special in takewhile(lambda mark: mark[1], marks[::-1]))[::-1]

    def _ready(self) -> Any:
        if self._library is None:
            raise DataError(self.uri, None, "the tokeniser has not been loaded", fix="run the preprocess stage again")
        return self._library


def _checked(path: Path) -> Json:
    """Read a `tokenizer.json`.

    Raises:
        ValueError: It is something else.
    """
    state = json.loads(path.read_text(encoding="utf-8"))
    model = state.get("model") if isinstance(state, dict) else None
    if not isinstance(model, dict) or not model.get("vocab"):
        raise ValueError("it has no model.vocab")
    found: Json = state
    return found

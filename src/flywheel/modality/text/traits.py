"""Traits of texts: how long, of which characters, how many unknown words, and which words, as a hashed bag."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from typing import cast

import numpy as np
import pandas as pd

from flywheel.modality.text.data.preprocessor import TextPreprocessor
from flywheel.monitor.trait.base import Array, Traits, numbers
from flywheel.preprocessor.base import Preprocessor

REFERENCE_SPLITS = ("validation",)
"""The words of train are known because they are train's: no text of it has as many unknown words as a new one has."""
NUM_PATTERNS = 16
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


def row_traits(inputs: Preprocessor, frame: pd.DataFrame) -> Traits:
    """Give the traits of cleaned texts.

    Words become a hashed bag (Weinberger et al. 2009, "Feature hashing for large scale multitask learning"):
    each word is a fixed direction of 16 signs, and a text the sum of its words' directions, scaled by their number.
    """
    texts = cast(TextPreprocessor, inputs)
    rows = [str(text) for text in frame[texts.column]]
    tokens = texts.tokeniser.tokenise(rows)
    words = [_WORD.findall(row.lower()) for row in rows]
    length = np.array([max(1, len(row)) for row in rows], np.float64)
    number = np.array([len(row) for row in words], np.float64)
    found = {
        "characters": np.log1p(length),
        "words": np.log1p(number),
        "word length": np.array([sum(map(len, row)) for row in words]) / np.maximum(1, number),
        "capitals": _share(rows, str.isupper, length),
        "digits": _share(rows, str.isdigit, length),
        "marks": _share(rows, lambda c: c.isascii() and not c.isalnum() and not c.isspace(), length),
        "not ASCII": _share(rows, lambda c: not c.isascii(), length),
    }
    unknown = texts.tokeniser.unknown_id
    if unknown is not None:
        found["unknown words"] = _shares_of(tokens.ids == unknown, tokens.lengths)
    bag = np.stack([_bag(row) for row in words])
    found |= {f"word pattern {place + 1}": bag[:, place] for place in range(NUM_PATTERNS)}
    return {name: numbers(values) for name, values in found.items()}


def _share(rows: list[str], holds: Callable[[str], bool], length: Array) -> Array:
    shares: Array = np.array([sum(map(holds, row)) for row in rows], np.float64) / length
    return shares


def _shares_of(marked: Array, lengths: Array) -> Array:
    """The share of marked tokens of each text, from tokens that lie one after the other."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    shares: Array = np.bincount(rows[marked], minlength=len(lengths)) / np.maximum(1, lengths)
    return shares


def _bag(words: list[str]) -> Array:
    if not words:
        return np.zeros(NUM_PATTERNS)
    summed: Array = np.sum([_direction(word) for word in words], axis=0)
    bag: Array = summed / np.sqrt(len(words))
    return bag


@functools.lru_cache(maxsize=65536)
def _direction(word: str) -> Array:
    digest = np.frombuffer(hashlib.blake2b(word.encode(), digest_size=NUM_PATTERNS // 8).digest(), np.uint8)
    signs: Array = np.unpackbits(digest).astype(np.float64) * 2 - 1
    return signs

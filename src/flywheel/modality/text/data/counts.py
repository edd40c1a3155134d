"""What the profile says of tokens: how many, how long the texts are, how much is unknown or was cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from flywheel.preprocessor.tokeniser import PADDING_ID, Tokeniser
from flywheel.project.types import Json

Array = np.ndarray[Any, Any]

LENGTH_BINS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Lower ends; the last bin has no upper end."""


def count_tokens(tokeniser: Tokeniser, ids: Array, texts_of: Callable[[Array], Sequence[str]]) -> dict[str, Any]:
    """Count what `describe_counts` needs; sums over any parts of a split are sums over the split.

    Args:
        tokeniser: The tokeniser of the texts.
        ids: Their rows, int32 [N, max_length].
        texts_of: Gives the cleaned texts of some positions; asked only of rows that are full, for only they may
            have been longer.
    """
    special = len(tokeniser.first_ids) + len(tokeniser.last_ids)
    stored = (ids != PADDING_ID).sum(axis=1) - special
    lengths = stored.copy()
    full = np.flatnonzero(stored + special == ids.shape[1])
    if len(full):
        lengths[full] = tokeniser.tokenise(texts_of(full)).lengths
    bins = np.bincount(np.searchsorted(LENGTH_BINS, lengths, side="right"), minlength=len(LENGTH_BINS) + 1)
    unknown = 0 if tokeniser.unknown_id is None else int((ids == tokeniser.unknown_id).sum())
    counts = {
        "texts": len(ids),
        "tokens": int(lengths.sum()),
        "stored_tokens": int(stored.sum()),
        "unknown_tokens": unknown,
        "truncated_texts": int((lengths > stored).sum()),
    }
    return counts | {f"length_{name}": int(number) for name, number in zip(_bin_names(), bins, strict=True)}


def describe_counts(counts: dict[str, Any]) -> Json:
    """Make rates of sums.

    Returns:
        `tokens` (all there were), `mean_length`, `unknown_rate` (of the stored tokens), `truncated` (`num_rows` and
        `share`), and `lengths` (texts by number of tokens before truncation, empty bins left out).
    """
    lengths = {name: counts[f"length_{name}"] for name in _bin_names() if counts[f"length_{name}"]}
    return {
        "tokens": counts["tokens"],
        "mean_length": counts["tokens"] / max(1, counts["texts"]),
        "unknown_rate": counts["unknown_tokens"] / max(1, counts["stored_tokens"]),
        "truncated": {
            "num_rows": counts["truncated_texts"],
            "share": counts["truncated_texts"] / max(1, counts["texts"]),
        },
        "lengths": lengths,
    }


def _bin_names() -> list[str]:
    ends = [str(low) if low == high - 1 else f"{low}-{high - 1}" for low, high in pairwise(LENGTH_BINS)]
    return ["0", *ends, f"{LENGTH_BINS[-1]}-"]

"""TF-IDF of words and of pieces of words, with a linear model on top."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from flywheel.model.ngram_linear import PADDING_ID, check_ngrams, hashed, there

SPACE = 32


class TfidfLinear(nn.Module):
    """A weight for each n-gram of words and of characters, times the n-gram's TF-IDF in the text.

    An n-gram that a text has c times counts 1 + log c there, times its idf, which is higher for n-grams of few texts.
    The values of words, and those of characters, are each brought to length 1 (Salton & Buckley 1988, Inf. Process.
    Manag. 24). Words have a row by their id, longer n-grams are hashed into one of `buckets` rows. Those of characters
    are of bytes, of 2 and more, and do not reach over the border of a word: a space is their first or last one.
    `flywheel.learner.estimator.tfidf` finds idf and weights.

    Args:
        vocabulary_size: Ids there are, padding (0) included.
        num_outputs: Logits of a row.
        ngrams: Longest n-gram of words: 1 (words only), 2, 3...
        buckets: Rows for those that are hashed.
        character_ngrams: Longest n-gram of bytes, from 2 on; needs the input `characters`. 0: there is none.
        character_buckets: Rows for them.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_outputs: int,
        ngrams: int = 2,
        buckets: int = 1_048_576,
        character_ngrams: int = 0,
        character_buckets: int = 1_048_576,
    ) -> None:
        super().__init__()
        check_ngrams(ngrams, buckets, character_ngrams, character_buckets)
        self.vocabulary_size, self.num_outputs = vocabulary_size, num_outputs
        self.ngrams, self.buckets = ngrams, buckets
        self.character_ngrams, self.character_buckets = character_ngrams, character_buckets
        self.words = TfidfWeights(vocabulary_size + (buckets if ngrams > 1 else 0), num_outputs)
        self.pieces = TfidfWeights(character_buckets + 1, num_outputs) if character_ngrams else None
        self.bias = nn.Parameter(torch.zeros(num_outputs))

    def forward(self, tokens: Tensor, characters: Tensor | None = None) -> Tensor:
        """Map a batch to logits [B, num_outputs], or [B] where there is one output.

        Args:
            tokens: Ids, int32 [B, L].
            characters: Bytes, uint8 [B, C]; needed where there are `character_ngrams`, unused elsewhere.

        Raises:
            ModelError: The characters are missing.
        """
        logits: Tensor = self.words(self.word_features(tokens)) + self.bias
        if self.pieces is not None:
            logits = logits + self.pieces(self.piece_features(characters))
        return logits.flatten() if self.num_outputs == 1 else logits

    def word_features(self, tokens: Tensor) -> Tensor:
        """The rows of the n-grams of words, int64 [B, ngrams * L]; 0 where none is."""
        found = [tokens.long(), *hashed(tokens, self.ngrams, self.buckets, first=self.vocabulary_size)]
        return torch.cat(found, dim=1)

    def piece_features(self, characters: Tensor | None) -> Tensor:
        """The rows of the n-grams of characters, int64 [B, (character_ngrams - 1) * (C + 2)]; 0 where none is.

        Raises:
            ModelError: The characters are missing.
        """
        bytes_BC = functional.pad(functional.pad(there(characters).long(), (1, 0), value=SPACE), (0, 1))
        before_BC = functional.pad(bytes_BC, (1, 0))[:, :-1]
        is_end = (bytes_BC == PADDING_ID) & (before_BC != PADDING_ID)
        spaced_BC = bytes_BC.masked_fill(is_end, SPACE)
        found = hashed(spaced_BC, self.character_ngrams, self.character_buckets, first=1, border=SPACE)
        return torch.cat(list(found), dim=1)


class TfidfWeights(nn.Module):
    """The idf and the weights of one kind of n-grams; an idf is 1 until it is known.

    Args:
        rows: Rows, that of padding (0) included.
        num_outputs: Logits of a row.
    """

    idf: Tensor

    def __init__(self, rows: int, num_outputs: int) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, num_outputs, padding_idx=PADDING_ID)
        self.register_buffer("idf", torch.ones(rows).index_fill_(0, torch.tensor([PADDING_ID]), 0.0))

    def forward(self, features_BF: Tensor) -> Tensor:
        """Sum the weights of features, times their values, [B, num_outputs]."""
        features_BF, values_BF = self.values(features_BF)
        summed_B1O: Tensor = torch.matmul(values_BF[:, None], self.table(features_BF))
        return summed_B1O.squeeze(1)

    def values(self, features_BF: Tensor) -> tuple[Tensor, Tensor]:
        """Give each row's features in order, int64 [B, F], and their TF-IDF, at a feature's last place, [B, F]."""
        # As int32: its sort takes half the time, and no table is that long.
        sorted_BF = features_BF.int().sort(dim=1).values
        counts_BF = _counts(sorted_BF)
        weights_BF = torch.where(counts_BF > 0, counts_BF.clamp(min=1).to(self.idf.dtype).log() + 1, 0.0)
        values_BF = weights_BF * self.idf[sorted_BF.long()]
        length_B1 = values_BF.square().sum(dim=1, keepdim=True).sqrt()
        return sorted_BF.long(), values_BF / length_B1.clamp(min=1e-12)


def _counts(sorted_BF: Tensor) -> Tensor:
    """How often each value is there, at its last place, and 0 at its others; of rows in order, int32 [B, F]."""
    width = sorted_BF.shape[1]
    place_BF = torch.arange(width, dtype=torch.int32, device=sorted_BF.device).expand_as(sorted_BF)
    is_first = sorted_BF != functional.pad(sorted_BF, (1, 0), value=-1)[:, :-1]
    is_last = sorted_BF != functional.pad(sorted_BF, (0, 1), value=-1)[:, 1:]
    # The place where each one's run begins: the largest so far, by doubling steps, as ONNX has no running maximum.
    first_BF, step = place_BF.masked_fill(~is_first, 0), 1
    while step < width:
        first_BF = torch.maximum(first_BF, functional.pad(first_BF, (step, 0))[:, :width])
        step *= 2
    return (place_BF - first_BF + 1).masked_fill(~is_last, 0)

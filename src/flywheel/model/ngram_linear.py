"""A linear model over words and hashed n-grams: cheap, and hard to beat on short texts."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from flywheel.project.errors import ModelError

PADDING_ID = 0
MULTIPLIER = 2_654_435_761  # 2**32 divided by the golden ratio: neighbouring ids land far apart (Knuth, TAOCP 3, 6.4)
MAX_CHARACTERS = 8


class NgramLinear(nn.Module):
    """Each token and each hashed n-gram has one row of weights; a text's logits are their scaled sum.

    Joulin et al. 2016, arXiv:1607.01759 (fastText), with the embedding as wide as the output (`width: 0`) or through a
    narrow one. An n-gram is hashed from its tokens' ids into one of `buckets` rows; those that collide share it.
    The sum is divided by a power of the number of features, by default the square root, between fastText's mean (1) and
    a plain linear model's sum (0): long texts are surer than short ones, but not without bounds.

    Where the preprocessor gives `characters` too, their n-grams are features as well, with a sum of their own: words
    that train never had are told by their parts (Bojanowski et al. 2017, arXiv:1607.04606).

    Args:
        vocabulary_size: Ids there are, padding (0) included.
        num_outputs: Number of logits of a row.
        ngrams: Longest n-gram: 1 (tokens only), 2, 3...
        buckets: Rows for hashed n-grams.
        width: Width of the embedding; 0: features go to the logits directly.
        dropout: Probability of leaving out a feature, in training.
        distinct: Whether a feature counts once a text however often it occurs (Wang & Manning 2012, ACL: in long texts
            presence says more than counts).
        length_power: Power of the number of features that divides their sum, in [0, 1].
        init_std: Standard deviation of the first weights; 0: all begin at zero, which suits `width: 0`.
        character_ngrams: Longest n-gram of bytes, from 2 on; needs the input `characters`. 0: there is none.
        character_buckets: Number of rows for character n-grams.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_outputs: int,
        ngrams: int = 2,
        buckets: int = 200_000,
        width: int = 0,
        dropout: float = 0.0,
        distinct: bool = False,
        length_power: float = 0.5,
        init_std: float = 0.0,
        character_ngrams: int = 0,
        character_buckets: int = 200_000,
    ) -> None:
        super().__init__()
        check_ngrams(ngrams, buckets, character_ngrams, character_buckets)
        if not 0 <= length_power <= 1:
            raise ValueError(f"length_power must be in [0, 1], not {length_power}")
        if width and not init_std:
            raise ValueError("init_std must be above 0 where there is a width: zeros behind zeros learn nothing")
        self.ngrams, self.buckets, self.dropout, self.distinct = ngrams, buckets, dropout, distinct
        self.length_power = length_power
        self.character_ngrams, self.character_buckets = character_ngrams, character_buckets
        rows = vocabulary_size + (buckets if ngrams > 1 else 0)
        self.vocabulary_size = vocabulary_size
        self.table = nn.Embedding(rows, width or num_outputs, padding_idx=PADDING_ID)
        nn.init.normal_(self.table.weight, std=init_std)
        with torch.no_grad():
            self.table.weight[PADDING_ID].zero_()
        self.pieces: nn.Embedding | None = None
        if character_ngrams:
            self.pieces = nn.Embedding(character_buckets + 1, width or num_outputs, padding_idx=PADDING_ID)
            nn.init.normal_(self.pieces.weight, std=init_std)
            with torch.no_grad():
                self.pieces.weight[PADDING_ID].zero_()
        self.bias = nn.Parameter(torch.zeros(width or num_outputs))
        self.head = nn.Linear(width, num_outputs) if width else nn.Identity()

    def forward(self, tokens: Tensor, characters: Tensor | None = None) -> Tensor:
        """Map a batch to logits [B, num_outputs], or [B] where there is one output.

        Args:
            tokens: Ids, int32 [B, L].
            characters: Bytes, uint8 [B, C]; needed where there are `character_ngrams`, unused elsewhere.

        Raises:
            ModelError: The characters are missing.
        """
        summed_BO = self._sum(self.table, self.features(tokens))
        if self.pieces is not None:
            summed_BO = summed_BO + self._sum(self.pieces, self.character_features(there(characters)))
        logits: Tensor = self.head(summed_BO + self.bias)
        return logits.squeeze(1) if logits.shape[1] == 1 else logits

    def _sum(self, table: nn.Embedding, features_BF: Tensor) -> Tensor:
        """Sum the rows of features, over a power of their number; some are left out in training."""
        if self.training and self.dropout:
            left_out = torch.rand(features_BF.shape, device=features_BF.device) < self.dropout
            features_BF = features_BF.masked_fill(left_out, PADDING_ID)
        number_B1 = (features_BF != PADDING_ID).sum(dim=1, keepdim=True).clamp(min=1)
        summed_BO: Tensor = table(features_BF).sum(dim=1) * number_B1.to(self.bias.dtype) ** -self.length_power
        return summed_BO

    def features(self, tokens: Tensor) -> Tensor:
        """Give rows of the table, int64 [B, ngrams * L]; 0 where none is.

        Tokens, then n-grams by their last token; `distinct` ones ascending, with 0 in place of repetitions.
        """
        found = [tokens.long(), *hashed(tokens, self.ngrams, self.buckets, first=self.vocabulary_size)]
        return self._once(torch.cat(found, dim=1))

    def character_features(self, characters: Tensor) -> Tensor:
        """Give rows of the pieces' table, int64 [B, (character_ngrams - 1) * C]; 0 where none is."""
        found = hashed(characters, self.character_ngrams, self.character_buckets, first=1)
        return self._once(torch.cat(list(found), dim=1))

    def _once(self, features_BF: Tensor) -> Tensor:
        if not self.distinct:
            return features_BF
        # As int32: its sort takes half the time, and no table is that long.
        features_BF = features_BF.int().sort(dim=1).values.long()
        before_BF = nn.functional.pad(features_BF, (1, 0), value=-1)[:, :-1]
        return features_BF.masked_fill(features_BF == before_BF, PADDING_ID)


def check_ngrams(ngrams: int, buckets: int, character_ngrams: int, character_buckets: int) -> None:
    """Refuse lengths and numbers of rows that cannot be.

    Raises:
        ValueError: One is out of its range.
    """
    if ngrams < 1 or buckets < 1:
        raise ValueError(f"ngrams and buckets must be above 0, not {ngrams} and {buckets}")
    if character_ngrams not in range(MAX_CHARACTERS + 1) or character_ngrams == 1 or character_buckets < 1:
        what = f"character_ngrams must be 0 or 2 to {MAX_CHARACTERS}, and character_buckets above 0"
        raise ValueError(f"{what}, not {character_ngrams} and {character_buckets}")


def there(characters: Tensor | None) -> Tensor:
    """The input of a net with n-grams of characters.

    Raises:
        ModelError: It is missing.
    """
    if characters is None:
        fix = "set preprocess.inputs.num_characters, or model.net.character_ngrams to 0"
        raise ModelError("needs the input 'characters'", where="model.net", fix=fix)
    return characters


def hashed(ids: Tensor, longest: int, buckets: int, first: int, border: int | None = None) -> Iterator[Tensor]:
    """Hash the n-grams that end at each place into `buckets` rows from `first` on.

    Args:
        ids: [B, L], with padding (0) on the right.
        longest: Of the n-grams; the shortest are pairs.
        buckets: Rows there are.
        first: The first of them.
        border: An id that may begin or end an n-gram, but not stand within one.

    Yields:
        For each length the rows, int64 [B, L]; 0 where no n-gram ends.
    """
    ids_BL = ids.long()
    whole_BL = ids_BL != PADDING_ID
    hashed_BL = ids_BL
    for order in range(2, longest + 1):
        earlier = nn.functional.pad(ids_BL, (order - 1, 0))[:, : ids_BL.shape[1]]
        # Within 63 bits: the remainder below 2**31, times a number below 2**32.
        hashed_BL = (hashed_BL * MULTIPLIER + earlier) % 2_147_483_647
        there = whole_BL & (earlier != PADDING_ID)
        yield torch.where(there, hashed_BL % buckets + first, PADDING_ID)
        if border is not None:
            whole_BL = whole_BL & (earlier != border)

"""Negative sampling: training rows get a few items to tell the wanted one from, instead of a whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

KINDS = ("uniform", "popularity")


class NegativeSampling(nn.Module):
    """Adds `candidates`: the wanted item in column 0, then items drawn at random that the user has not had.

    Negatives are drawn with replacement, `num_tries` times over: a draw that is the wanted item or in the row's history
    is replaced by the next try. One that fails every time stays, so the loss has a little noise, as in BPR's own
    sampling; it never fails on large catalogues. Items that the user takes later in train may be drawn: the row does
    not know them.

    Args:
        num_items: Number of items in the catalogue.
        num_negatives: Negatives drawn for each row.
        by: `uniform`, or `popularity` (by the counts in train to the power 0.75, Mikolov et al. 2013, arXiv:1310.4546).
        item_counts: Number of occurrences of each item in train; needed for `popularity`.
        num_tries: Number of draws of each negative.

    Raises:
        ValueError: A value is out of its range, or the counts are missing.
    """

    weights: Tensor

    def __init__(
        self,
        num_items: int,
        num_negatives: int = 4,
        by: str = "uniform",
        item_counts: Sequence[int] | None = None,
        num_tries: int = 4,
    ) -> None:
        super().__init__()
        if by not in KINDS:
            raise ValueError(f"by must be one of {', '.join(KINDS)}, not '{by}'")
        if num_items < 2 or num_negatives < 1 or num_tries < 1:
            raise ValueError("num_items >= 2, num_negatives >= 1 and num_tries >= 1 are required")
        if by == "popularity" and (item_counts is None or len(item_counts) != num_items):
            raise ValueError(f"by: popularity needs item_counts of all {num_items} items")
        self.num_items, self.num_negatives, self.by, self.num_tries = num_items, num_negatives, by, num_tries
        counts = torch.ones(num_items) if item_counts is None else torch.tensor(item_counts, dtype=torch.float64)
        self.register_buffer("weights", counts.double().pow(0.75), persistent=False)

    def forward(self, inputs: dict[str, Tensor], target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Give the inputs with `candidates`, int64 [B, 1 + num_negatives], and targets of 0.

        Args:
            inputs: `history`, integers [B, H] (item codes: column + 1, 0 is padding), and others, which pass.
            target: int64 [B], columns of the catalogue.
        """
        taken_BT = torch.cat([inputs["history"].long() - 1, target[:, None]], dim=1).sort(dim=1).values
        drawn_BC = self._draw(len(target), target.device)
        for _ in range(self.num_tries - 1):
            drawn_BC = torch.where(_contains(taken_BT, drawn_BC), self._draw(len(target), target.device), drawn_BC)
        candidates_BC = torch.cat([target[:, None], drawn_BC], dim=1)
        return {**inputs, "candidates": candidates_BC}, torch.zeros_like(target)

    def _draw(self, num_rows: int, device: torch.device) -> Tensor:
        """Items at random, int64 [B, num_negatives]."""
        if self.by == "uniform":
            return torch.randint(self.num_items, (num_rows, self.num_negatives), device=device)
        drawn = torch.multinomial(self.weights, num_rows * self.num_negatives, replacement=True)
        return drawn.to(device).reshape(num_rows, self.num_negatives)


def _contains(sorted_BT: Tensor, items_BC: Tensor) -> Tensor:
    """Whether each item is among its row's, bool [B, C]; memory grows with neither the catalogue nor T x C."""
    place_BC = torch.searchsorted(sorted_BT, items_BC).clamp(max=sorted_BT.shape[1] - 1)
    return sorted_BT.gather(1, place_BC) == items_BC

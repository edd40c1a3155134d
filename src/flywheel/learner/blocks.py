"""The batches of an epoch: in which order the rows come, and how they are cut into blocks of batches."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from flywheel.learner.data import WEIGHT, Block, Part, RankShare

_WINDOW = 50  # batches that are sorted together: large enough to save padding, small enough to stay random


class Blocks:
    """A loader for Lightning: shuffled (by seed and epoch alone) or not, one item a block of batches.

    The order depends on nothing that ran before, so a resumed training sees what an undisturbed one would. Where the
    part knows its rows' lengths, rows of about one length share a batch: shuffled rows are sorted within windows of
    `_WINDOW` batches and the batches shuffled again; rows that are not shuffled are sorted by length.

    Args:
        part: Rows of one split.
        batch_size: Rows of one batch.
        steps_per_block: Optimiser steps per item.
        seed: Shuffles; None keeps the file's order.
        accumulate: Batches of one optimiser step. The order of the rows is that of batches so many times as large, so
            that a step has the same rows either way.
        num_rows: Rows of one pass, the first of its order (of the file, where nothing is shuffled); None: all.
        rank: Which rows of each batch to give: every `num_ranks`-th from the `rank`-th, so that rows of one length are
            spread evenly.
        num_ranks: Number of ranks that share each batch; at most `batch_size`.
    """

    def __init__(
        self,
        part: Part,
        batch_size: int,
        steps_per_block: int,
        seed: int | None = None,
        *,
        accumulate: int = 1,
        num_rows: int | None = None,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self.part = part
        self._rank, self._num_ranks = rank, num_ranks
        self.batch_size = batch_size
        self.num_rows = part.num_rows if num_rows is None else num_rows
        self.step_rows = batch_size * accumulate
        self.block_rows = self.step_rows * steps_per_block
        self.seed = seed
        self.epoch = 0
        self.sampler, self.batch_sampler = self, None  # where Lightning looks for `set_epoch`

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next (Lightning calls it, also after a resume)."""
        self.epoch = epoch

    @property
    def num_steps(self) -> int:
        """Optimiser steps in one pass."""
        return -(-self.num_rows // self.step_rows)

    def __len__(self) -> int:
        return -(-self.num_rows // self.block_rows)

    def order(self) -> Tensor:
        """Row numbers of this epoch, int64 [N]."""
        lengths = self.part.lengths
        longest = torch.stack(list(lengths.values())).sum(dim=0) if lengths else None
        if self.seed is None:
            rows = torch.arange(self.num_rows)
            return rows if longest is None else torch.argsort(longest[: self.num_rows], stable=True)
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.epoch))
        rows = torch.randperm(self.part.num_rows, generator=generator)[: self.num_rows]
        return rows if longest is None else self._bucketed(rows, longest, generator)

    def _bucketed(self, rows: Tensor, longest: Tensor, generator: torch.Generator) -> Tensor:
        windows = torch.split(rows, self.step_rows * _WINDOW)
        batches = [
            batch
            for window in windows
            for batch in torch.split(window[torch.argsort(longest[window], stable=True)], self.step_rows)
        ]
        # A batch that is not full must stay the last: blocks are cut every `batch_size` rows.
        whole = len(batches) - (len(batches[-1]) < self.step_rows)
        order = [*torch.randperm(whole, generator=generator).tolist(), *range(whole, len(batches))]
        return torch.cat([batches[place] for place in order])

    def __iter__(self) -> Iterator[Block]:
        pieces = torch.split(self.order(), self.block_rows)
        if not self.part.streams:
            yield from map(self._block, pieces)
            return
        with ThreadPoolExecutor(1) as reader:  # reads the next block from the disk while this one is trained on
            ahead: Future[Block] | None = None
            for piece in pieces:
                coming, ahead = ahead, reader.submit(self._block, piece)
                if coming is not None:
                    yield coming.result()
            if ahead is not None:
                yield ahead.result()

    def _block(self, index: Tensor) -> Block:
        longest = {
            name: [int(batch.max()) for batch in torch.split(lengths[index], self.batch_size)]
            for name, lengths in self.part.lengths.items()
        }
        batch_size, shares = self.batch_size, []
        if self._num_ranks > 1:
            batches = torch.split(index, self.batch_size)
            shares = [RankShare(len(batch[self._rank :: self._num_ranks]), len(batch)) for batch in batches]
            own = [batch[self._rank :: self._num_ranks] if share.own else batch[:1]
                   for batch, share in zip(batches, shares, strict=True)]  # fmt: skip
            index, batch_size = torch.cat(own), len(range(self._rank, self.batch_size, self._num_ranks))
        rows = self.part.gather(index)
        target = rows.pop("target")
        return Block(rows, target, batch_size, longest, shares, rows.pop(WEIGHT, None))


def mixed_seed(seed: int, epoch: int) -> int:
    """One seed for each (training seed, epoch) pair; neighbours do not collide."""
    return (seed * 1_000_003 + epoch * 7_919 + 1) % (2**63)

"""A bounded part of a file of lines: all of a small file; of a large one its head and blocks drawn from the rest.

However large the file, at most `WHOLE_BYTES` are read, so that looking at 2 GB costs what looking at 8 MB costs.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from flywheel.reader.format.raw_file import is_gzip, open_raw

WHOLE_BYTES = 8 << 20
HEAD_BYTES = 2 << 20
BLOCK_BYTES = 512 << 10
NUM_BLOCKS = (WHOLE_BYTES - HEAD_BYTES) // BLOCK_BYTES
SEED = 0


@dataclass(frozen=True)
class SampleBlocks:
    """Complete lines of a file.

    Attributes:
        head: Lines from the beginning of the file.
        others: Blocks from other places, in order; empty if `head` holds the whole file.
        is_whole: Whether `head` is the whole file.
        num_bytes: The number of bytes of the whole file; None where that is not known (a large gzip).
    """

    head: bytes
    others: tuple[bytes, ...]
    is_whole: bool
    num_bytes: int | None

    @property
    def num_read(self) -> int:
        """Bytes that are here."""
        return len(self.head) + sum(map(len, self.others))


def read_blocks(path: Path) -> SampleBlocks:
    """Read a file of lines, or a bounded part of it; the same file gives the same part.

    Raises:
        DataError: It is a broken gzip.
        OSError: It cannot be read.
    """
    with open_raw(path) as file:
        if is_gzip(path):  # nobody can jump in it
            head = file.read(WHOLE_BYTES)
            whole = not file.read(1)
            return SampleBlocks(head if whole else _to_last_line(head), (), whole, len(head) if whole else None)
        size = path.stat().st_size
        if size <= WHOLE_BYTES:
            return SampleBlocks(file.read(), (), True, size)
        head = _to_last_line(file.read(HEAD_BYTES))
        others = []
        for start in _starts(size):
            file.seek(start)
            others.append(_to_last_line(_from_next_line(file.read(BLOCK_BYTES))))
        return SampleBlocks(head, tuple(block for block in others if block), False, size)


def _starts(size: int) -> list[int]:
    """One place in each of `NUM_BLOCKS` equal stretches behind the head; blocks from there do not overlap."""
    generator = random.Random(SEED)
    stretch = (size - HEAD_BYTES) / NUM_BLOCKS
    firsts = [HEAD_BYTES + int(number * stretch) for number in range(NUM_BLOCKS)]
    return [first + generator.randrange(max(int(stretch) - BLOCK_BYTES, 0) + 1) for first in firsts]


def _to_last_line(block: bytes) -> bytes:
    return block[: block.rfind(b"\n") + 1]


def _from_next_line(block: bytes) -> bytes:
    end = block.find(b"\n")
    return block[end + 1 :] if end >= 0 else b""

"""The progress bar of a download: on a terminal only, and imported only there."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress(title: str, total: int | None, start: int) -> Iterator[Callable[[int], object]]:
    """Give a function to call with each number of bytes that arrived.

    Args:
        title: Name of the download.
        total: Its size in bytes, if it is known.
        start: Bytes that are there already.
    """
    if not sys.stderr.isatty():
        yield lambda num_bytes: None
        return
    from tqdm import tqdm

    with tqdm(desc=title, total=total, initial=start, unit="B", unit_scale=True, leave=False) as bar:
        yield bar.update

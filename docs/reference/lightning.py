"""The table in `docs/from-other-tools.md` of what Lightning's Trainer takes and a training here does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from docs.reference.markdown import code, table

from flywheel.project.lightning_words import ARGUMENTS, VALUES, Instead

PAGE = "from-other-tools.md"
_PLACE = re.compile(r"(<!-- Written from .*: trainer -->\n).*(<!-- end: trainer -->)", re.DOTALL)


def page_with_trainer(root: Path) -> str:
    """The page, with the table in its place; all else in it is written by hand.

    Args:
        root: The project.
    """
    text = (root / "docs" / PAGE).read_text(encoding="utf-8")
    made = table(("Lightning", "it", "instead"), _rows())
    return _PLACE.sub(lambda found: f"{found[1]}\n{made}\n\n{found[2]}", text)


def _rows() -> Iterator[tuple[str, str, str]]:
    for name, instead in sorted(ARGUMENTS.items()):
        yield _row(name, instead)
    for name, values in sorted(VALUES.items()):
        for value, instead in sorted(values.items()):
            yield _row(f"{name}={value}", instead)


def _row(word: str, instead: Instead) -> tuple[str, str, str]:
    return code(word), instead.why, instead.use

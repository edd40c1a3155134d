"""The Markdown that the reference pages are made of: tables, blocks of code, and docstrings taken apart."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$", re.MULTILINE)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a column that is empty in every row is left out."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    kept = [place for place in range(len(head)) if any(row[place] for row in cells)]
    lines = [[head[place] for place in kept], ["---"] * len(kept)]
    lines += [[row[place] for place in kept] for row in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def block(language: str, text: str, *, not_run: str = "") -> str:
    """A block of code; `not_run` says why the tests of the pages do not run it."""
    why = f"<!-- not run: {not_run} -->\n" if not_run else ""
    return f"{why}```{language}\n{text.rstrip()}\n```"


def code(text: str) -> str:
    """Text as code in a line; empty stays empty."""
    return f"`{text}`" if text else ""


def page(title: str, source: str, parts: Iterable[str]) -> str:
    """A page, with the command that writes it in a comment."""
    head = f"# {title}\n\n<!-- Written from {source} by `make docs-reference`; do not edit. -->"
    return "\n\n".join([head, *(part for part in parts if part)]) + "\n"


def summary(doc: str | None) -> str:
    """What a docstring says before its sections, each paragraph on one line."""
    text = _SECTION.split(inspect.cleandoc(doc or ""))[0].strip()
    return "\n\n".join(_joined(part) for part in text.split("\n\n"))


def entries(doc: str | None, section: str) -> dict[str, str]:
    """The entries of a docstring's section (`Args` or `Attributes`), each on one line."""
    parts = _SECTION.split(inspect.cleandoc(doc or ""))
    text = dict(zip(parts[1::2], parts[2::2], strict=True)).get(section, "")
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := re.match(r" {4}(\w+): (.*)", line):
            name, found[match[1]] = match[1], match[2]
        elif line.startswith(" " * 8):
            found[name] += f" {line.strip()}"
    return found


def _cell(text: str) -> str:
    return _joined(text).replace("|", r"\|")


def _joined(text: str) -> str:
    return " ".join(text.split())

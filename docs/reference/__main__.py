"""Write the reference pages, or with `--check` say which are not what the code gives (exit code 1)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from docs.reference.commands import commands_page
from docs.reference.groups import groups_page
from docs.reference.lightning import PAGE, page_with_trainer
from docs.reference.routes import routes_page
from docs.reference.settings import settings_page

ROOT = Path(__file__).parents[2]
PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "groups.md": partial(groups_page, ROOT),
    "cli.md": commands_page,
    "http.md": partial(routes_page, ROOT),
    PAGE: partial(page_with_trainer, ROOT),
}


def main(words: list[str], folder: Path = ROOT / "docs") -> int:
    """Write the pages that differ, or only name them.

    Args:
        words: The command line: nothing, or `--check`.
        folder: Where the pages are.

    Returns:
        1 where a page is only checked and differs, else 0.
    """
    differing = []
    for name, make in PAGES.items():
        file, text = folder / name, make()
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            differing.append(name)
            if "--check" not in words:
                file.write_text(text, encoding="utf-8")
    if "--check" not in words:
        print(f"written: {', '.join(differing) or 'nothing, all pages are what the code gives'}")
        return 0
    for name in differing:
        print(f"docs/{name} is not what the code gives; run `make docs-reference`", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Adds the pages beside `docs/` to the site that mkdocs makes, and turns links into what the site has.

mkdocs calls the functions by their names (`hooks:` of `mkdocs.yml`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
ADDED = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages of the project's top, and where the site has them."""
REFERENCE = ("settings.md", "cli.md", "http.md")
"""Pages that a search shows before the others: who types a key wants to know what it means."""
_FENCE = re.compile(r"^(```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages of the project's top."""
    for source, name in ADDED.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Point links to where the site has their targets; code is left alone."""
    if page.file.src_uri in REFERENCE:
        page.meta["search"] = {"boost": 4}
    folder = Path(page.file.abs_src_path).parent
    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _pointed(part, folder) for part in parts)


def _pointed(text: str, folder: Path) -> str:
    def pointed(found: re.Match[str]) -> str:
        mark, words, target, anchor = found.groups(default="")
        if re.match(r"\w+:", target):
            return found[0]
        path = Path(os.path.normpath(folder / target))
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else target
        if name in ADDED:
            return f"{mark}[{words}]({ADDED[name]}{anchor})"
        if path.is_file() and name.startswith("docs/"):
            return f"{mark}[{words}]({name.removeprefix('docs/')}{anchor})"
        return words if path.exists() else found[0]  # what is missing stays, and fails the strict build

    return _LINK.sub(pointed, text)

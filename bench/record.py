"""A table of figures: printed as Markdown, and kept as JSON in bench/results/."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


class Table:
    """Rows of figures with a title.

    Args:
        name: The file's name in bench/results/.
        title: What was measured.
        columns: Headings.
    """

    def __init__(self, name: str, title: str, columns: list[str]) -> None:
        self.name, self.title, self.columns = name, title, columns
        self.rows: list[list[Any]] = []

    def add(self, row: list[Any]) -> None:
        """Add a row and show it at once: benchmarks are long."""
        self.rows.append(row)
        print("  ", " | ".join(str(cell) for cell in row), flush=True)

    def keep(self, first: str) -> None:
        """Add the rows that begin so as they were measured before: a benchmark of one part leaves the others' alone."""
        kept = Table.load(self.name)
        self.rows += [row for row in kept.rows if row[0] == first] if kept else []

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = ["| " + " | ".join(self.columns) + " |", "|" + " --- |" * len(self.columns)]
        lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in self.rows]
        return f"**{self.title}**\n\n" + "\n".join(lines) + "\n"

    def save(self) -> None:
        """Write bench/results/<name>.json."""
        FOLDER.mkdir(exist_ok=True)
        content = {"title": self.title, "columns": self.columns, "rows": self.rows, "python": platform.python_version()}
        (FOLDER / f"{self.name}.json").write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, name: str) -> Table | None:
        """Read a kept table; None where there is none."""
        file = FOLDER / f"{name}.json"
        if not file.is_file():
            return None
        content = json.loads(file.read_text())
        table = cls(name, content["title"], content["columns"])
        table.rows = content["rows"]
        return table

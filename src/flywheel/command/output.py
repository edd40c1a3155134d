"""What commands print: tables that are never cut, and JSON."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
MAX_WIDTH = 100_000  # of a line in a pipe or a file, where nothing is wrapped


def show_json(value: Any) -> None:
    """Print a value as JSON; what JSON has no form for is printed as text."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def show_table(table: Table) -> None:
    """Print a table whole: where it is too wide for the terminal, each row's cells under each other.

    Args:
        table: Table of texts, printed without interpreting markup such as `[x]`.
    """
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(markup=False, emoji=False, highlight=False)
    needed = Measurement.get(console, console.options.update(width=MAX_WIDTH), table).maximum
    if not console.is_terminal:
        Console(markup=False, emoji=False, highlight=False, width=max(needed, console.width)).print(table)
    elif needed <= console.width:
        console.print(table)
    else:
        typer.echo("\n".join(_stacked(table, console.width)))


def _stacked(table: Table, width: int) -> list[str]:
    """A line a cell: the first of each row, and below it the others that are not empty, with their columns' names."""
    names = [str(column.header) for column in table.columns]
    indent = 2 + max(map(len, names)) + 2
    lines = [str(table.title)] if table.title else []
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        lines.append(str(cells[0]))
        for name, cell in zip(names[1:], map(str, cells[1:]), strict=True):
            if cell:
                start = f"  {name}".ljust(indent)
                lines += textwrap.wrap(
                    cell, max(width, indent + 10), initial_indent=start, subsequent_indent=" " * indent,
                    break_on_hyphens=False,
                )  # fmt: skip
    return lines + ([str(table.caption)] if table.caption else [])

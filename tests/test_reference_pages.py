"""The reference pages are what the code gives, and what they are made from is read right."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from annotated_types import Ge, Gt, Le
from docs.reference.__main__ import PAGES, main
from docs.reference.groups import signature
from docs.reference.markdown import entries, summary, table
from docs.reference.schema import sections

from flywheel.monitor.settings import MonitorSettings
from flywheel.monitor.steering import LoopSettings
from flywheel.project.config import TaskConfig
from flywheel.project.settings import PositiveInt
from flywheel.serving.settings import ServingSettings
from flywheel.sweep.search.settings import SweepConfig


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_gives(root: Path, name: str) -> None:
    assert (root / "docs" / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs-reference`"


def test_a_page_that_differs_is_named_and_then_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(PAGES):
        monkeypatch.setitem(PAGES, name, lambda: "as it is\n")
        (tmp_path / name).write_text("as it is\n")
    (tmp_path / "cli.md").write_text("as it was\n")
    assert main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err == "docs/cli.md is not what the code gives; run `make docs-reference`\n"
    assert (tmp_path / "cli.md").read_text() == "as it was\n"
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0


@dataclass
class Inner:
    """Part of it.

    Attributes:
        word: One of two, over
            two lines.
    """

    word: Literal["a", "b"] = "a"


@dataclass
class Outer:
    """All of it."""

    inner: Inner
    count: PositiveInt = 3
    share: Annotated[float, Gt(0), Le(1)] = 0.5
    size: Annotated[int, Ge(1), Le(70_000)] | None = None
    turned_on: bool = False
    parts: Literal[0] | Annotated[int, Ge(2)] = 4
    slots: PositiveInt | Literal["auto"] = "auto"


def test_a_schema_is_walked_with_types_defaults_bounds_and_meanings() -> None:
    outer, inner = sections(Outer)
    assert [(key.name, key.type, key.default, key.bounds) for key in outer.keys] == [
        ("inner", "section", "required", ""),
        ("count", "whole number", "`3`", "at least 1"),
        ("share", "number", "`0.5`", "above 0 and at most 1"),
        ("size", "whole number, or null", "`null`", "at least 1 and at most 70000"),
        ("turned_on", "true or false", "`false`", ""),
        ("parts", "whole number", "`4`", "`0`, or at least 2"),
        ("slots", "whole number or text", "`auto`", "at least 1, or `auto`"),
    ]
    assert inner.keys[0].bounds == "`a`, `b`"
    assert (inner.path, inner.about, inner.keys[0].meaning) == ("inner", "Part of it.", "One of two, over two lines.")


@pytest.mark.parametrize("schema", [TaskConfig, SweepConfig, ServingSettings, MonitorSettings, LoopSettings])
def test_every_setting_has_a_meaning(schema: type) -> None:
    """A new setting needs a line in its dataclass's docstring, or its row of the page says nothing."""
    assert [key.name for section in sections(schema) for key in section.keys if not key.meaning] == []


def test_every_option_of_a_group_says_what_it_is(root: Path) -> None:
    rows = [line for line in (root / "docs/groups.md").read_text().splitlines() if line.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |")] == []


def test_arguments_are_read_from_source_without_importing_it(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        'raise SystemExit\nclass Part:\n    """A part.\n\n    Args:\n        size: How large.\n    """\n\n'
        "    def __init__(self, size: int, *, names: list[str] | None = None) -> None: ...\n"
    )
    about, arguments = signature(file, "Part")
    assert about == "A part."
    assert [(one.name, one.type, one.default, one.meaning) for one in arguments] == [
        ("size", "int", "*required*", "How large."),
        ("names", "list[str] | None", "`None`", ""),
    ]


def test_a_docstring_is_taken_apart() -> None:
    doc = """What it
    is.

    More.

    Args:
        a: One
            line.
        b: Two.

    Raises:
        ValueError: Never.
    """
    assert summary(doc) == "What it is.\n\nMore."
    assert entries(doc, "Args") == {"a": "One line.", "b": "Two."}


def test_a_table_leaves_out_empty_columns_and_keeps_its_cells_apart() -> None:
    assert table(("a", "b", "c"), [("1|2", "", "x\ny")]) == "| a | c |\n| --- | --- |\n| 1\\|2 | x y |"


def test_the_site_lists_every_page(root: Path) -> None:
    def names(node: Any) -> list[str]:
        if isinstance(node, str):
            return [node]
        return [name for one in (node.values() if isinstance(node, dict) else node) for name in names(one)]

    listed = names(yaml.safe_load((root / "mkdocs.yml").read_text())["nav"])
    assert {page.name for page in (root / "docs").glob("*.md")} <= set(listed)
    assert len(listed) == len(set(listed))

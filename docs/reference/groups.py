"""`docs/groups.md`: the options of each group of `conf/`, and the arguments of the classes that they name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from docs.reference.markdown import code, entries, page, summary, table

ABOUT = """A task picks one option of each group: in its file (`- /model: cnn`), or on the command line
(`model=cnn`). An option is a YAML file of `conf/`, which sets keys of the section of its name;
[settings.md](settings.md) has these keys.

Where an option names a class (`_target_`), the keys beside it are the arguments of that class, which are listed
here for the classes of this project. A default that stands here is that of the class: the file of the option may
set another. Arguments that are *required* and in no file are filled in by the program."""
INNER = ("task", "experiment", "hydra")
"""Groups that are no part of a task: tasks themselves, what goes over any of them, and what Hydra owns."""


@dataclass(frozen=True)
class Argument:
    """An argument of a class or function, as its source has it."""

    name: str
    type: str
    default: str
    meaning: str


def groups_page(root: Path) -> str:
    """The page.

    Args:
        root: The project.
    """
    parts = [ABOUT]
    folders = {file.parent for file in (root / "conf").rglob("*.yaml")} - {root / "conf"}
    for folder in sorted(folders, key=lambda one: one.relative_to(root).parts):
        group = folder.relative_to(root / "conf").as_posix()
        files = sorted(folder.glob("*.yaml"))
        parts += [
            f"## {group}",
            table(("option", "what it is"), ((code(file.stem), first_comment(file)) for file in files)),
        ]
        if group.split("/")[0] not in INNER:
            targets = sorted({name for file in files for name in targets_in(yaml.safe_load(file.read_text()))})
            parts += [text for name in targets for text in _target(root, name)]
    return page("Groups", "conf/ and the docstrings of the classes that it names", parts)


def first_comment(file: Path) -> str:
    """The first paragraph of comment in a YAML file, or else the comment beside its first key."""
    text = re.sub(r"^# @package.*\n", "", file.read_text())
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def targets_in(node: object) -> Iterator[str]:
    """Every `_target_` in a file."""
    for key, value in node.items() if isinstance(node, dict) else ():
        if key == "_target_":
            yield str(value)
        yield from targets_in(value)
    for item in node if isinstance(node, list) else ():
        yield from targets_in(item)


def _target(root: Path, name: str) -> Iterator[str]:
    module, _, called = name.rpartition(".")
    file = root / "src" / Path(*module.split(".")).with_suffix(".py")
    if not file.is_file():
        return
    about, arguments = signature(file, called)
    yield f"### {code(name)}"
    yield about
    if arguments:
        rows = [(code(one.name), code(one.type), one.default, one.meaning) for one in arguments]
        yield table(("argument", "type", "default", "meaning"), rows)


def signature(file: Path, name: str) -> tuple[str, list[Argument]]:
    """What a class or function of a file is, and its arguments; nothing is imported.

    Args:
        file: The module's source.
        name: Of the class or function.
    """
    tree = ast.parse(file.read_text())
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name)
    doc = ast.get_docstring(found)
    told = entries(doc, "Args") | entries(doc, "Attributes")
    if isinstance(found, ast.FunctionDef):
        return summary(doc), _arguments(found.args, told)
    for node in found.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return summary(doc), _arguments(node.args, told | entries(ast.get_docstring(node), "Args"))
    return summary(doc), _fields(found, told)


def _arguments(given: ast.arguments, told: dict[str, str]) -> list[Argument]:
    places = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(places) - len(given.defaults)) + list(given.defaults)
    pairs = [*zip(places, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return [_argument(one.arg, one.annotation, default, told) for one, default in pairs if one.arg != "self"]


def _fields(found: ast.ClassDef, told: dict[str, str]) -> list[Argument]:
    """The fields of a dataclass."""
    nodes = [node for node in found.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    return [_argument(node.target.id, node.annotation, node.value, told) for node in nodes]


def _argument(name: str, annotation: ast.expr | None, default: ast.expr | None, told: dict[str, str]) -> Argument:
    shown = "*required*" if default is None else code(ast.unparse(default))
    return Argument(name, ast.unparse(annotation) if annotation else "", shown, told.get(name, ""))

"""What prediction needs, found by following imports: code that a version carries, and libraries that it asks for."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import flywheel
from flywheel.project.flatten import targets_in
from flywheel.project.moved import with_present_names

ENTRY = ("flywheel.registry.served_model", "flywheel.registry.predictor")
"""The module whose imports are followed."""


def code_of(preprocessor: Path) -> tuple[list[Path], set[str]]:
    """Find what loading a version and predicting with it import.

    Imports inside functions are followed as well; those for a type checker alone, and those of functions that fit
    (`fit`, `fit_...`), are not.

    Args:
        preprocessor: `preprocessor.json`, whose classes are imported by their names.

    Returns:
        The files of this package, as sorted paths below the folder that holds the package, and the names of the
        packages of others.
    """
    state = with_present_names(json.loads(preprocessor.read_text()))
    root = Path(flywheel.__file__).parent.parent
    left = [*ENTRY, *(target.rpartition(".")[0] for target in targets_in(state))]
    files: list[Path] = []
    found: set[str] = set()
    libraries: set[str] = set()
    while left:
        module = left.pop()
        top = module.partition(".")[0]
        if top != flywheel.__name__:
            libraries.add(top)
        elif module not in found and (file := _file_of(root, module)) is not None:
            files.append(file.relative_to(root))
            left += [module.rpartition(".")[0] or module, *_imports(ast.parse(file.read_text()).body)]
        found.add(module)
    return sorted(files), libraries - sys.stdlib_module_names


def _file_of(root: Path, module: str) -> Path | None:
    """A module's file; None where it is a name in a module."""
    place = root.joinpath(*module.split("."))
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


def _imports(body: Iterable[ast.AST]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif not _is_left_out(node):
            yield from _imports(ast.iter_child_nodes(node))


def _is_left_out(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name == "fit" or node.name.startswith("fit_")
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"

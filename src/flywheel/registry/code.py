"""The code that prediction needs, found by following imports: a version carries it, and nothing of training."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import flywheel
from flywheel.project.flatten import targets_in
from flywheel.project.moved import with_present_names

ENTRY = ("flywheel.registry.served_model", "flywheel.registry.predictor")
"""Where prediction begins."""


def code_of(preprocessor: Path) -> list[Path]:
    """Find the files of this package that loading a version and predicting with it import.

    Imports inside functions are followed as well; those for a type checker alone are not.

    Args:
        preprocessor: `preprocessor.json`, whose classes are imported by their names.

    Returns:
        Paths below the folder that holds the package, sorted.
    """
    state = with_present_names(json.loads(preprocessor.read_text()))
    named = [target.rpartition(".")[0] for target in targets_in(state)]
    root = Path(flywheel.__file__).parent.parent
    left, found = [*ENTRY, *named], {}
    while left:
        module = left.pop()
        file = _file_of(root, module) if module not in found else None
        if file is not None:
            found[module] = file
            above = module.rpartition(".")[0]
            left += [above, *_imports(ast.parse(file.read_text()).body)]
    return sorted(file.relative_to(root) for file in found.values())


def _file_of(root: Path, module: str) -> Path | None:
    """A module's file; None where it is none of this package, or a name in a module."""
    if module.partition(".")[0] != flywheel.__name__:
        return None
    place = root.joinpath(*module.split("."))
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


def _imports(body: Iterable[ast.AST]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from _imports(ast.iter_child_nodes(node))

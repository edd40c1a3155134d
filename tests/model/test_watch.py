"""What `conf/model/` says that DVC watches is what the nets import."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
MODEL = ROOT / "src/flywheel/model"
ALWAYS = {"network.py", "link.py", "initialise.py"}
"""Named by dvc.yaml for every task."""


def imported(file: Path) -> set[str]:
    """Modules of `flywheel.model` that a file imports, and those that they import."""
    nodes = ast.walk(ast.parse(file.read_text()))
    modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    own = {f"{name.rpartition('.')[2]}.py" for name in modules if name.startswith("flywheel.model.")}
    return own | {deeper for name in own for deeper in imported(MODEL / name)}


@pytest.mark.parametrize("conf", sorted((ROOT / "conf/model").glob("*.yaml")), ids=lambda conf: conf.stem)
def test_every_module_a_net_imports_is_watched(conf: Path) -> None:
    settings = yaml.safe_load(conf.read_text())
    watched = ROOT / settings.get("watch", "src/flywheel/model/__init__.py")
    assert watched.exists()
    files = {file.name for file in watched.glob("*.py")} if watched.is_dir() else {watched.name}
    assert imported(MODEL / f"{settings['name']}.py") <= files | ALWAYS | {f"{settings['name']}.py"}
    assert watched.name not in ALWAYS  # DVC refuses a dependency that is named twice

"""What may import what, and how much: the rules that keep stages quick to start and packages apart."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

NOUNS = [
    "source", "reader", "preprocessor", "model", "learner", "report", "registry",
    "serving", "feedback", "monitor", "sweep",
]  # fmt: skip
VERBS = [
    "download", "preprocess", "train", "evaluate", "export", "register",
    "serve", "watch", "loop", "params",
]  # fmt: skip
ON_TOP = [*VERBS, "command", "application", "prepare", "init_task"]
HEAVY = {"torch", "pytorch_lightning", "mlflow", "matplotlib", "sklearn", "hydra", "onnxruntime", "scipy", "pandera"}


def imports_of(file: Path) -> Iterator[str]:
    """Every module a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_nouns_import_leftward_only_and_never_a_verb(root: Path) -> None:
    package = root / "src/flywheel"
    wrong = []
    for place, noun in enumerate(NOUNS):
        for file in sorted((package / noun).rglob("*.py")):
            for name in imports_of(file):
                part = name.removeprefix("flywheel.").split(".")[0] if name.startswith("flywheel.") else ""
                if part in ON_TOP or (part in NOUNS and NOUNS.index(part) > place):
                    wrong.append(f"{file.relative_to(package)} imports {name}")
    assert not wrong, wrong


def test_models_know_nothing_of_training(root: Path) -> None:
    for file in (root / "src/flywheel/model").glob("*.py"):
        assert not any(name.startswith("pytorch_lightning") for name in imports_of(file)), file


def test_nothing_asks_which_modality_it_has(root: Path) -> None:
    words = {"image", "text", "speech", "audio", "tabular", "recommender"}
    for verb in [*VERBS, "learner", "model/network", "prepare", "application"]:
        place = root / "src/flywheel" / verb
        for file in place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]:
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Compare):
                    values = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant)}
                    assert not values & words, f"{file}:{node.lineno}"


def loaded_after(program: str) -> set[str]:
    """Top-level names of the modules that are loaded when a program ends."""
    tail = "\nimport sys; print(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", program + tail], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("program", "allowed"),
    [
        ("import flywheel.command.cli", set()),
        ("import flywheel.download, flywheel.source.fetch", set()),
        ("import flywheel.preprocess, flywheel.preprocessor.pipeline.run, flywheel.reader.idx", set()),
        ("import flywheel.init_task.verb, flywheel.init_task.table, flywheel.init_task.folder", set()),
        ("import flywheel.project.params, flywheel.project.tracking, flywheel.project.stage", set()),
        ("import flywheel.model.mlp, flywheel.model.network", {"torch"}),
        (
            "import flywheel.evaluate, flywheel.export, flywheel.register, flywheel.command.predict, flywheel.serve",
            set(),
        ),
    ],
)
def test_imports_stay_light(program: str, allowed: set[str]) -> None:
    assert not (loaded_after(program) & HEAVY) - allowed


def test_help_loads_nothing_that_it_does_not_show() -> None:
    program = (
        "import sys; sys.argv = ['flywheel', '--help']\nfrom flywheel.command.cli import main\n"
        "import contextlib, io\nwith contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main()"
    )
    assert not loaded_after(program) & {*HEAVY, "pandas", "numpy", "dvc", "omegaconf"}

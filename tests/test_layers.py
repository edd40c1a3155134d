"""What may import what, and how much: the rules that keep stages quick to start and packages apart."""

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOMS = [
    "project", "source", "reader", "preprocessor", "model", "learner", "report", "registry", "serving", "feedback",
    "monitor", "sweep", "init_task", "modality",
]  # fmt: skip
"""A room imports those before it; `init_task` and what stands before it import no modality."""
STAGES = ["params", "download", "preprocess", "train", "evaluate", "export", "register"]
ON_TOP = [*STAGES, "serve", "watch", "loop", "application", "prepare", "command"]
HEAVY = {"torch", "pytorch_lightning", "mlflow", "matplotlib", "sklearn", "hydra", "onnxruntime", "scipy", "pandera"}


def imports_of(file: Path) -> Iterator[str]:
    """Every module a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.fixture(scope="module")
def imported(root: Path) -> dict[str, set[str]]:
    """The modules of the package that each of its modules imports, by their names below `flywheel`."""
    package = root / "src/flywheel"
    files = {
        file.relative_to(package).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): file
        for file in sorted(package.rglob("*.py"))
    }
    names = {f"flywheel.{module}": module for module in files}
    return {
        module: {names[name] for name in imports_of(file) if name in names} - {module} for module, file in files.items()
    }


def test_every_module_stands_in_a_room_or_is_a_stage_or_an_entry(imported: dict[str, set[str]]) -> None:
    assert {module.split(".")[0] for module in imported} == {*ROOMS, *ON_TOP, "__init__"}


def test_rooms_import_only_rooms_before_them(imported: dict[str, set[str]]) -> None:
    wrong = []
    for module, names in imported.items():
        room = module.split(".")[0]
        for name in names if room in ROOMS else ():
            part = name.split(".")[0]
            if part in ON_TOP or (part in ROOMS and ROOMS.index(part) > ROOMS.index(room)):
                wrong.append(f"{module} imports {name}")
    assert not wrong, wrong


def test_a_modality_imports_no_other_and_no_engine_names_one(imported: dict[str, set[str]]) -> None:
    for module, names in imported.items():
        if module.startswith("modality."):
            room = module.split(".")[1]
            others = {name for name in names if name.startswith("modality.") and name.split(".")[1] != room}
            assert not others, f"{module} imports {others}"
        elif module.split(".")[0] not in ON_TOP:
            assert not any(name.startswith("modality.") for name in names), module


def test_no_imports_go_round_in_a_circle(imported: dict[str, set[str]]) -> None:
    code = {module: {name for name in names if "." in name or name in ON_TOP} for module, names in imported.items()}
    left = dict(code)
    while free := [module for module, names in left.items() if not names & left.keys()]:
        for module in free:
            del left[module]
    # What is left is in a circle, or leads into one.
    assert not left, sorted(left)


def test_an_edit_of_a_modality_concerns_its_own_tasks_alone(root: Path) -> None:
    tasks = yaml.safe_load((root / "params.yaml").read_text())["tasks"]
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]

    def runs_again(edited: str) -> set[str]:
        found = set()
        for stage, name in itertools.product(STAGES[1:], tasks):
            deps = [filled(dep, name, tasks[name]) for dep in stages[stage]["do"]["deps"]]
            if any(edited == dep or edited.startswith(f"{dep}/") for dep in deps):
                found.add(f"{stage}@{name}")
        return found

    def of(*names: str) -> set[str]:
        return {f"{stage}@{name}" for stage in ("preprocess", "evaluate", "register") for name in names}

    assert runs_again("src/flywheel/modality/tabular/data/preprocessor.py") == of("breast_cancer")
    assert runs_again("src/flywheel/modality/image/data/pixels.py") == of("fashion")
    assert runs_again("src/flywheel/modality/audio/augment.py") == {
        f"{stage}@spoken_digits" for stage in ("train", "evaluate", "register")
    }
    assert runs_again("src/flywheel/modality/text/traits.py") == {"evaluate@tweets", "register@tweets"}


def filled(dep: str, name: str, task: dict[str, Any]) -> str:
    """A dependency of dvc.yaml, for one task."""

    def value(match: re.Match[str]) -> str:
        found: Any = {"key": name, "item": task}
        for part in match[1].split("."):
            found = found[part]
        return str(found)

    return re.sub(r"\$\{([^}]+)\}", value, dep)


def test_models_know_nothing_of_training(root: Path) -> None:
    for file in (root / "src/flywheel/model").glob("*.py"):
        assert not any(name.startswith("pytorch_lightning") for name in imports_of(file)), file


def test_nothing_asks_which_modality_it_has(root: Path) -> None:
    words = {"image", "text", "speech", "audio", "tabular", "recommender"}
    for verb in [*STAGES, "serve", "watch", "loop", "command", "learner", "model/network", "prepare", "application"]:
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
        ("import flywheel.preprocess, flywheel.preprocessor.pipeline.run, flywheel.modality.image.data.idx", set()),
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

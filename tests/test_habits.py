"""The habits that keep the project easy to change: each is a rule of CONTRIBUTING.md, or of the set-up."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MAX_LINES = 300
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
INDEX_HOSTS = ("pypi" + ".org", "python" + "hosted", "anaconda" + ".org", "conda" + ".io", "deb.debian" + ".org")


@pytest.fixture(scope="module")
def project_table(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return found


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, Requirement]:
    found = [Requirement(line) for line in pin_lines(root)]  # a line that pip would refuse raises here
    return {canonicalize_name(pin.name): pin for pin in found}


def pin_lines(root: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (root / "constraints.txt").read_text().splitlines())
    return [line for line in lines if line]


def sources(root: Path) -> list[Path]:
    return [file for part in ("src", "tests", "bench") for file in sorted((root / part).rglob("*.py"))]


def committed(root: Path) -> list[Path]:
    """Text files that git has or would take; outside git, those of the folders that hold sources."""
    done = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=False
    )
    names = done.stdout.splitlines()
    if done.returncode or not names:
        return [*sources(root), *(root / "conf").rglob("*.yaml"), *root.glob("*.*")]
    return [file for file in map(root.joinpath, names) if file.is_file()]


def test_ci_calls_make_test_and_then_the_rest(root: Path) -> None:
    script = root / ".ci/run"
    assert os.access(script, os.X_OK)
    lines = [line for line in script.read_text().splitlines() if line and not line.startswith(("#", "set ", "cd "))]
    assert lines == ["make test", "make test-rest"]


def test_workflows_call_make_targets_only(root: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    workflows = sorted((root / ".github/workflows").glob("*.yml"))
    assert workflows
    for workflow in workflows:
        jobs = yaml.safe_load(workflow.read_text())["jobs"]
        runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
        assert runs
        for run in runs:
            assert re.fullmatch(r"make ([a-z-]+)", run), run
            assert run.removeprefix("make ") in targets


def test_the_workflow_covers_every_python_that_is_promised(root: Path, project_table: dict[str, Any]) -> None:
    matrix = yaml.safe_load((root / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    low, high = (int(number) for number in re.findall(r"3\.(\d+)", project_table["requires-python"]))
    assert matrix["python"] == [f"3.{minor}" for minor in range(low, high)]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos"}


def test_hooks_are_commands_of_the_environment(root: Path) -> None:
    settings = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in settings["repos"]] == ["local"], "other hooks are downloaded"
    hooks = settings["repos"][0]["hooks"]
    scripts = {script.name for script in metadata.entry_points(group="console_scripts")} | {"ruff"}
    for hook in hooks:
        assert hook["language"] == "system"
        folder, _, program = hook["entry"].split()[0].rpartition("/")
        assert folder == ".venv/bin"
        assert program in scripts, program
    called = {re.sub(r"^\S*/", "", hook["entry"]).removesuffix(" --fix") for hook in hooks}
    assert called == {"ruff check", "ruff format", "mypy", "flywheel params --check"}


def test_constraints_are_exact(root: Path) -> None:
    assert len(pin_lines(root)) > 50
    for line in pin_lines(root):
        assert re.fullmatch(r"[\w.-]+==[\w.+!]+", line), line


def test_constraints_cover_what_the_package_and_its_tools_need(
    project_table: dict[str, Any], pins: dict[str, Requirement]
) -> None:
    needed = [*project_table["dependencies"], *project_table["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, needed):
        name = canonicalize_name(requirement.name)
        assert name in pins, name
        version = str(pins[name].specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{name} {version} is not {requirement.specifier}"


def test_the_installed_packages_are_those_of_the_constraints(pins: dict[str, Requirement]) -> None:
    for name in ("torch", "mlflow", "dvc", "hydra-core", "pytorch-lightning", "numpy", "pandas", "pytest", "ruff"):
        assert metadata.version(name).partition("+")[0] == str(pins[name].specifier).removeprefix("=="), name


def test_files_are_short(root: Path) -> None:
    for file in (root / "src").rglob("*.py"):
        assert len(file.read_text().splitlines()) <= MAX_LINES, file


def test_the_wheel_takes_every_file_that_is_no_module(root: Path) -> None:
    package = root / "src/flywheel"
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["flywheel"]
    taken = {file for pattern in patterns for file in package.glob(pattern)}
    files = {file for file in package.rglob("*.*") if file.suffix not in (".py", ".pyc")}
    assert taken == {file for file in files if file.is_file()}


def test_no_module_is_a_drawer(root: Path) -> None:
    for file in sources(root):
        assert not {file.stem, *file.relative_to(root).parts} & DRAWERS, file


def test_the_package_prints_nothing_and_catches_no_everything(root: Path) -> None:
    for file in (root / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{file}:{node.lineno}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{file}:{node.lineno}"


def test_no_test_is_skipped(root: Path) -> None:
    forms = ("mark." + "skip", "mark." + "xfail", "pytest." + "skip", "import" + "orskip")
    for file in (root / "tests").rglob("*.py"):
        assert not any(form in file.read_text() for form in forms), file


def test_the_licence_is_apache_2(root: Path, project_table: dict[str, Any]) -> None:
    assert project_table["license"] == "Apache-2.0"
    assert metadata.metadata("flywheel")["License-Expression"] == "Apache-2.0"
    text = (root / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


def test_the_changelog_has_the_version(root: Path, project_table: dict[str, Any]) -> None:
    assert f"## [{project_table['version']}]" in (root / "CHANGELOG.md").read_text()


def test_no_package_index_is_named(root: Path) -> None:
    """Which index is asked is a matter of the machine (`pip config`), not of the project."""
    for file in committed(root):
        content = file.read_bytes()
        assert not any(host.encode() in content for host in INDEX_HOSTS), file
        assert b"--index" + b"-url" not in content, file


def test_no_two_public_classes_have_one_name(root: Path) -> None:
    places: dict[str, list[str]] = {}
    for file in sorted((root / "src/flywheel").rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(file.name)
    twice = {name: files for name, files in places.items() if len(files) > 1}
    assert not twice, twice

"""What the pages say is true: their commands run, and what they name exists.

Each page's `sh` blocks run in order in a clone of the project whose two default tasks have a few rows of data
(`tests/fixtures/`, taken for a mirror). A `yaml` or `python` block that begins with a path in a comment is written to
that file first, as a reader would. A block under `<!-- not run: why -->` is not run here.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from tests import forked
from tests.conftest import only_warn_of_baselines

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ALL_PAGES = [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md"]
COPIED = (
    "src", "conf", "tests", "bench", "docs", ".ci", ".dvc", ".gitignore", ".dvcignore", "Makefile", "dvc.yaml",
    "params.yaml", "pyproject.toml", "constraints.txt", "LICENSE", "README.md",
)  # fmt: skip
TASKS = ("fashion", "tweets", "breast_cancer", "fashion_student", "tweets_minilm", "ref_mnist_mlp")
"""Tasks that together have all keys of a task that pages name."""
NOT_COPIED = ("__pycache__", "*.egg-info", "tmp", "cache", "config.local")
BLOCK = re.compile(r"(?:<!-- not run: (?P<why>[^\n]+) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL)
WITHOUT_SUMS = (r"^( {4}\S+:)\n {6}sha256: .*\n {6}num_bytes: .*\n", r"\1 {}\n")

names = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
all_names = pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.stem)


class Block(NamedTuple):
    """A fenced block: its language, its text, and why it is not run (empty: it is)."""

    kind: str
    text: str
    why_not: str


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [Block(m["kind"], m["text"], m["why"] or "") for m in BLOCK.finditer(page.read_text())]


@dataclass(frozen=True)
class Clone:
    """A clone of the project that is set up and built, and put back to that state for each page."""

    folder: Path
    snapshot: Path
    environment: dict[str, str]

    def restore(self) -> None:
        """Undo what a page has done; the path stays the same, because MLflow's store holds it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for beside in set(self.folder.parent.iterdir()) - {self.snapshot, self.folder.parent / "home"}:
            shutil.rmtree(beside) if beside.is_dir() else beside.unlink()
        shutil.copytree(self.snapshot, self.folder, symlinks=True)

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a block as a person would, but stop at the first command that fails."""
        shell = ["bash", "-e", "-u", "-o", "pipefail", "-c", script]
        return subprocess.run(
            shell, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=540, check=False
        )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Clone, commit, `make repro`, commit."""
    place = tmp_path_factory.mktemp("docs")
    clone = Clone(place / "flywheel", place / "snapshot", _environment(place))
    _copy_project(clone.folder)
    for script in (
        "git init -q && git add -A && git commit -qm start",
        "make repro",
        "git add -A && git commit -qm built",
    ):
        done = clone.run(script)
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    shutil.copytree(clone.folder, clone.snapshot, symlinks=True)
    return clone


@pytest.fixture
def clone(built: Clone) -> Clone:
    """The built clone, as nobody has touched it."""
    built.restore()
    return built


def _environment(place: Path) -> dict[str, str]:
    (place / "home").mkdir()
    folder = place / "flywheel"
    dropped = ("DVC_", "MLFLOW_", "GIT_", "PYTEST_", "VIRTUAL_ENV", "MAKE", "MFLAGS", "COVERAGE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    who = {f"GIT_{role}_{key}": "docs@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    return kept | who | {
        "HOME": str(place / "home"),
        "PATH": f"{folder / '.venv/bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        "FLYWHEEL_MIRROR": str(folder / "tests/fixtures"),
    }  # fmt: skip


def _copy_project(folder: Path) -> None:
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns(*NOT_COPIED))
        else:
            shutil.copy(source, folder / name)
    for data in (folder / "conf/data").glob("*.yaml"):  # the fixtures are not the whole files that sums are promised of
        data.write_text(re.sub(*WITHOUT_SUMS, data.read_text(), flags=re.MULTILINE))
    only_warn_of_baselines(folder)
    forked.lend_python(folder)
    (folder / ".venv/.ready").unlink(missing_ok=True)
    (folder / ".venv/.ready").touch()  # younger than what it is made from: `make` installs nothing


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.xdist_group("docs")
@names
def test_every_command_of_a_page_runs(clone: Clone, page: Path) -> None:
    for block in blocks(page):
        path = re.match(r"(?:# @package _global_\n)?# ((?:conf|src|tests)/\S+\.(?:yaml|py))\n", block.text)
        if block.kind in ("yaml", "python") and path:
            target = clone.folder / path[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
        elif block.kind == "sh" and not block.why_not:
            done = clone.run(block.text)
            said = f"{block.text}\n--- stdout\n{done.stdout[-3000:]}\n--- stderr\n{done.stderr[-3000:]}"
            assert done.returncode == 0, f"exit {done.returncode}\n{said}"
            assert "Traceback (most recent call last)" not in done.stderr, said


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.xdist_group("docs")
def test_make_ui_serves_the_runs_on_this_machine_only(clone: Clone) -> None:
    with _server(clone) as (port, output):
        page = _ask(f"http://127.0.0.1:{port}/", output)
        assert "mlflow" in page.lower()
        found = _ask(f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/registered-models/get?name=fashion", output)
        assert '"champion"' in found


class _server:  # noqa: N801 - used as a function
    """`make ui` on a free port, ended by its process group."""

    def __init__(self, clone: Clone) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.clone = clone

    def __enter__(self) -> tuple[int, Path]:
        output = self.clone.folder.parent / "ui.log"
        with output.open("w") as stream:
            self.process = subprocess.Popen(
                ["make", "ui", f"PORT={self.port}"], cwd=self.clone.folder, env=self.clone.environment,
                stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return self.port, output

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)


def _ask(url: str, output: Path) -> str:
    """Get a page from a server that may still be starting."""
    end = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert time.monotonic() < end, output.read_text()[-3000:]
            time.sleep(0.5)


@names
def test_blocks_that_are_not_run_say_why(page: Path) -> None:
    for block in blocks(page):
        assert block.kind in ("sh", "text", "yaml", "python", "tree"), block.kind
        assert not block.why_not or len(block.why_not.split()) >= 3
    assert page.read_text().count("<!-- not run") == sum(bool(block.why_not) for block in blocks(page))


@all_names
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not link.startswith(("http:", "https:")):
            path, _, anchor = link.partition("#")
            target = (page.parent / path) if path else page
            assert target.exists(), link
            assert not anchor or anchor in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_tree_of_the_architecture_exists() -> None:
    tree = next(block.text for block in blocks(ROOT / "ARCHITECTURE.md") if block.kind == "tree")
    parents: list[str] = []
    num_found = 0
    for line in tree.splitlines():
        indent = (len(line) - len(line.lstrip())) // 2
        named = re.split(r" {3,}", line.strip())[0].split("  ")
        for name in named:
            path = ROOT.joinpath(*parents[:indent], name)
            assert path.exists() or name == "dvc.lock", path
            num_found += 1
        parents[indent:] = [named[0]]
    assert num_found > 50


def test_the_tree_of_the_architecture_is_complete() -> None:
    tree = next(block.text for block in blocks(ROOT / "ARCHITECTURE.md") if block.kind == "tree")
    modules = sorted((ROOT / "src/flywheel").glob("*"))
    for path in modules:
        if path.suffix == ".py" and path.stem != "__init__":
            assert path.name in tree
        elif path.is_dir() and path.name != "__pycache__":
            assert f"{path.name}/" in tree
    for group in (path for path in (ROOT / "conf").iterdir() if path.is_dir()):
        assert f"{group.name}/" in tree


@all_names
def test_files_named_in_a_page_exist(page: Path) -> None:
    made = "".join(block.text for block in blocks(page) if block.kind in ("yaml", "python"))
    tasks = re.findall(r"^flywheel init-task (\w+)", page.read_text(), re.MULTILINE)
    initialised = {f"conf/{group}/{task}.yaml" for group in ("data", "task") for task in tasks}
    for name in re.findall(r"`((?:src|conf|tests|docs|bench)/[\w./-]+)`", page.read_text()):
        assert (ROOT / name).exists() or f"# {name}\n" in made or name in initialised, name


@all_names
def test_make_targets_named_in_a_page_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert set(used) <= targets


@all_names
def test_commands_of_flywheel_named_in_a_page_exist(page: Path) -> None:
    import typer

    from flywheel.command.cli import app

    group = typer.main.get_command(app)
    known = set(group.commands)  # type: ignore[attr-defined]
    for name in ("registry", "feedback"):
        known |= {f"{name} {one}" for one in group.commands[name].commands}  # type: ignore[attr-defined]
    for first, second in re.findall(r"(?:^|`)flywheel ([\w-]+)(?: ([\w-]+))?", page.read_text(), re.MULTILINE):
        assert first in known, first
        assert first not in ("registry", "feedback") or not second or f"{first} {second}" in known, second


@all_names
def test_configuration_keys_named_in_a_page_exist(page: Path) -> None:
    from flywheel.project.compose import compose_task

    tasks = [compose_task(ROOT, [f"task={name}"]) for name in TASKS]
    tasks += [compose_task(ROOT, ["task=diabetes", "model=boosted_trees", "callbacks=timer"])]
    tasks += [{"sweep": yaml.safe_load((ROOT / "conf/train.yaml").read_text())["sweep"]}]
    tasks += [{"data": {"reader": {"name": "of files that were written before it went"}}}]
    groups = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()} - {
        "task",
        "hydra",
    }  # Hydra knows its own
    keys = re.findall(rf"(?:`|tasks\.\w+\.|\s)((?:{'|'.join(groups)})(?:\.[a-z_0-9]+)+)", page.read_text())
    for key in set(keys):
        if not re.search(r"\.(yaml|py|csv|json|md|safetensors|html|onnx|ipynb)$", key):
            assert any(_holds(task, key.split(".")) for task in tasks), key


def _holds(node: object, parts: list[str]) -> bool:
    if not parts:
        return True
    return isinstance(node, dict) and parts[0] in node and _holds(node[parts[0]], parts[1:])


@names
def test_yaml_blocks_are_yaml(page: Path) -> None:
    for block in blocks(page):
        if block.kind == "yaml":
            assert isinstance(yaml.safe_load(block.text), dict | list)


def test_every_page_is_reachable_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#\s]+\.md)\)", (ROOT / "README.md").read_text()))
    assert linked == {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}


def test_pages_have_commands() -> None:
    """A change of the blocks' form must not leave the tests above with nothing to do."""
    assert sum(len(block.text.splitlines()) for page in PAGES for block in blocks(page) if block.kind == "sh") > 60

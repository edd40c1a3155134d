"""A kind of data that Flywheel does not know is a folder of code and a file of YAML, and goes all the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests import forked
from tests.serving.conftest import Running
from tests.serving.site import answered, chromium, page  # noqa: F401 - fixtures
from tests.test_layers import STAGES, filled

from flywheel.monitor.reference import FILE, Reference

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
FILES = Path(__file__).parent / "fixtures/new_modality"
ROOM = "src/flywheel/modality/points"
NUM_FILES = 40
"""Of each class."""


def points(name: str, number: int) -> str:
    """The text of a file: points in the lower or the upper half, always the same ones."""
    random = np.random.default_rng([name == "high", number])
    found = random.uniform(0, 0.5, (random.integers(5, 15), 2))
    return "".join(f"{x:.4f} {y + 0.5 * (name == 'high'):.4f}\n" for x, y in found)


class Newcomer:
    """Somebody who adds the kind of data to a project, and works with it from the command line."""

    def __init__(self, project: Path, run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
        self.project, self._run = project, run

    def run(self, module: str, *words: str, code: int = 0) -> str:
        done = self._run(module, *words, COLUMNS="200")
        assert done.returncode == code, f"{module} {words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def add_modality(self) -> None:
        """The folder, and the option of `conf/preprocess/`; nothing that was there is edited."""
        shutil.copytree(FILES / "modality/points", self.project / ROOM)
        shutil.copy(FILES / "conf/preprocess/points.yaml", self.project / "conf/preprocess")
        (self.project / "conf/config.yaml").write_text("defaults:\n  - _self_\n")

    def write_data(self) -> None:
        for name in ("low", "high"):
            folder = self.project / "data/drawn" / name
            folder.mkdir(parents=True)
            for number in range(NUM_FILES):
                (folder / f"{number}.points").write_text(points(name, number))

    def init_task(self) -> str:
        """Make the task, and let it train for few epochs."""
        said = self.run("command.cli", "init-task", "shapes", "--from", "data/drawn")
        file = self.project / "conf/task/shapes.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["trainer"]["max_epochs"] = 30
        settings.setdefault("register", {})["baseline"] = "warn"
        file.write_text(f"# @package _global_\n{yaml.safe_dump(settings, sort_keys=False)}")
        self.run("command.cli", "params")
        return said

    def params(self) -> Any:
        return yaml.safe_load((self.project / "params.yaml").read_text())["tasks"]["shapes"]

    def watched(self) -> list[str]:
        """Every path that dvc.yaml depends on for this task."""
        stages = yaml.safe_load((self.project / "dvc.yaml").read_text())["stages"]
        return [filled(dep, "shapes", self.params()) for stage in STAGES[1:] for dep in stages[stage]["do"]["deps"]]

    def ask_server(self, **asked: Any) -> dict[str, Any]:
        """Serve the champion with the project's own code, ask, and give the answers by name; predictions are kept."""
        (self.project / "asked.json").write_text(json.dumps(asked))
        env = {**os.environ, "PYTHONPATH": str(self.project / "src")}
        command = [sys.executable, "-c", (FILES / "ask_server.py").read_text(), "asked.json"]
        done = forked.run(command, cwd=self.project, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told


def test_a_new_modality_goes_from_a_folder_to_the_monitor(
    project: Path,
    run_flywheel: Callable[..., subprocess.CompletedProcess[str]],
    page: Any,  # noqa: F811 - the fixture
) -> None:
    """One test, because each step stands on the one before it."""
    before = tree(project)
    newcomer = Newcomer(project, run_flywheel)
    newcomer.add_modality()
    assert not edited(before, tree(project)) - {"conf/config.yaml"}
    newcomer.write_data()

    said = newcomer.init_task()
    for words in ("80 point sets", "2 classes", "5 to 14 a file"):
        assert words in said
    code = newcomer.params()["preprocess"]["code"]
    assert code == {"data": f"{ROOM}/data", "room": ROOM, "augment": "src/flywheel/modality/__init__.py"}
    assert newcomer.params()["data"]["reader"]["read"]["_target_"].startswith("flywheel.modality.points.")

    for stage in ("download", "preprocess", "train", "evaluate", "export", "register"):
        newcomer.run(stage, "--task", "shapes")
    missing = [path for path in newcomer.watched() if not (project / path).exists()]
    assert missing == ["data/params.checked"], "every dependency is there but the one that DVC's first stage makes"
    assert {f"{ROOM}/data", ROOM} <= set(newcomer.watched())
    decision = json.loads((project / "artifacts/shapes/decision.json").read_text())
    assert decision["promoted"]
    assert decision["candidate_value"] == 1
    (carried,) = project.glob("mlartifacts/**/code/flywheel/modality")
    held = {file.relative_to(carried).as_posix() for file in carried.rglob("*.*") if file.name != "__init__.py"}
    assert held == {"points/data/preprocessor.py", "points/data/file.py"}, "a version carries what predicts"

    for name in ("low", "high"):
        (project / f"{name}.points").write_text(points(name, NUM_FILES))
    newcomer.run("command.cli", "predict", "shapes", "low.points", "high.points", "--output", "answers.jsonl")
    answers = [json.loads(line) for line in (project / "answers.jsonl").read_text().splitlines()]
    assert [answer["label"] for answer in answers] == ["low", "high"]

    check_server(newcomer)
    check_monitor(newcomer)
    check_page(newcomer, page)
    assert not edited(before, tree(project)) - {"conf/config.yaml", "params.yaml", "mlflow.db"}


def check_server(newcomer: Newcomer) -> None:
    """What the page asks a server for; it is told of 120 rows of one class, which the monitor is to notice."""
    mixed = [*points("low", NUM_FILES).splitlines()[:3], *points("high", NUM_FILES).splitlines()[:4]]
    rows = [{"points": points("high", NUM_FILES + place)} for place in range(120)]
    told = newcomer.ask_server(rows=rows, refused={"points": "here and there"}, explained={"points": "\n".join(mixed)})
    status, described = told["described"]
    assert status == 200
    assert described["classes"] == ["high", "low"]
    assert list(described["schema"]["properties"]) == ["points"]
    assert told["choices"][1]["example"]["points"].count("\n") >= 5
    status, predicted = told["predicted"]
    assert status == 200
    assert {row["label"] for row in predicted["predictions"]} == {"high"}
    status, refused = told["refused"]
    assert status == 422
    assert "not two numbers" in refused["error"]["message"]
    status, explained = told["explained"]
    assert status == 200
    (group,) = explained["groups"]
    assert (group["input"], group["about"]["text"].splitlines()) == ("points", mixed)
    speaks_for_high = np.array(group["weights"]) * (1 if explained["label"] == "high" else -1)
    assert (speaks_for_high[3:] > 0).all()
    assert (speaks_for_high[:3] < 0).all()


def check_monitor(newcomer: Newcomer) -> None:
    """The version's reference and the monitor know the traits by the names that the folder gives them."""
    (file,) = newcomer.project.glob(f"mlartifacts/**/evidence/{FILE}")
    assert set(Reference.load(file).inputs) == {"number of points", "mean y"}
    check = json.loads(newcomer.run("command.cli", "monitor", "shapes", "--json", code=1))
    assert check["num_rows"] == check["inputs"]["num_rows"] == 120
    assert check["inputs"]["drifted"] == ["mean y"]


def check_page(newcomer: Newcomer, opened: Any) -> None:
    """The folder's own form: points are clicked, and those that the answer depends on are drawn in colour."""
    environment = {"PYTHONPATH": str(newcomer.project / "src")}
    command = [sys.executable, "-m", "flywheel.command.cli", "serve", "--port", "0"]
    running = Running(newcomer.project, command, **environment)
    try:
        opened.goto(f"{running.url}/#shapes")
        opened.wait_for_selector("#about:has-text('classes a set of points belongs to: high, low')")
        box = opened.locator("#fields canvas").bounding_box()
        for share in (0.2, 0.3, 0.5, 0.6, 0.8, 0.9):
            opened.mouse.click(box["x"] + share * box["width"], box["y"] + share * box["height"] / 2)
        assert answered(opened) == "high"
        drawn = opened.locator("figure[data-kind=points] canvas")
        assert drawn.get_attribute("aria-label") == "the points that the answer depends on"
        opened.click("#example")
        with opened.expect_response("**/predict") as asked:
            opened.click("#predict")
        assert asked.value.request.post_data_json["points"].count("\n") >= 4, "the example took the place of six points"
        assert asked.value.status == 200
        assert opened.wrong == []
    finally:
        assert running.stop() == 0


def tree(project: Path) -> dict[str, bytes]:
    """The bytes of all files of a project that a person or a command may edit."""
    places = [project, *(project / name for name in ("src", "conf"))]
    files = [file for place in places for file in (place.glob("*") if place == project else place.rglob("*"))]
    return {str(file.relative_to(project)): file.read_bytes() for file in files
            if file.is_file() and file.suffix != ".pyc"}  # fmt: skip


def edited(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    """The files that are others than they were, or gone."""
    return {name for name, content in before.items() if after.get(name) != content}

"""`dvc plots`: a plot is of one task, has the report's axes, and shows without a network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import forked
from tests.serving.site import chromium  # noqa: F401 - a fixture

from flywheel.project.compose import plots_of as plots_of_params

Run = Callable[..., subprocess.CompletedProcess[str]]

DIAGONAL = {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]}


def plots_of(root: Path) -> dict[str, dict[str, Any]]:
    return {
        name: plot
        for one in yaml.safe_load((root / "artifacts/dvc.yaml").read_text())["plots"]
        for name, plot in one.items()
    }


def test_every_task_has_plots_and_each_is_of_one_task(root: Path) -> None:
    tasks = set(yaml.safe_load((root / "params.yaml").read_text())["tasks"])
    plots = plots_of(root)
    for name, plot in plots.items():
        of = {Path(file).parts[0] for file in plot["y"]}
        assert len(of) == 1, name
        assert name.startswith(f"{of.pop()}, ")
    drawn = {name.partition(",")[0] for name in plots}
    assert drawn == tasks
    assert (root / "artifacts/dvc.yaml").read_text() == plots_of_params((root / "params.yaml").read_text())


def test_a_new_task_has_its_plots_without_a_line(project: Path, run_flywheel: Run) -> None:
    config = project / "conf/config.yaml"
    config.write_text(config.read_text().replace("  - _self_", "  - task@tasks.diabetes: diabetes\n  - _self_"))
    assert run_flywheel("command.cli", "params").returncode == 0
    names = [name for name in plots_of(project) if name.startswith("diabetes, ")]
    assert names == ["diabetes, loss", "diabetes, mean absolute error"]
    (project / "artifacts/dvc.yaml").write_text("plots: []\n")
    done = run_flywheel("command.cli", "params", "--check")
    assert (done.returncode, "artifacts/dvc.yaml differs" in done.stderr) == (1, True)


def test_templates_have_the_axes_of_the_report(root: Path) -> None:
    templates = {file.stem: json.loads(file.read_text()) for file in (root / ".dvc/plots").glob("*.json")}
    assert {plot["template"] for plot in plots_of(root).values()} == set(templates)
    for name in ("roc", "reliability", "precision_recall"):
        encoding = templates[name]["layer"][-1]["encoding"]
        assert encoding["x"]["scale"]["domain"] == encoding["y"]["scale"]["domain"] == [0, 1]
    assert templates["roc"]["layer"][0]["data"] == templates["reliability"]["layer"][0]["data"] == DIAGONAL
    confusion = plots_of(root)["fashion, confusion"]
    assert (confusion["x"], list(confusion["y"].values())) == ("predicted", ["actual"]), "rows are the true classes"


@pytest.mark.slow
def test_plots_show_without_a_network(root: Path, tmp_path: Path, chromium: Any) -> None:  # noqa: F811
    tables = {
        "report/confusion.csv": "actual,predicted\na,a\na,b\nb,b\n",
        "report/roc.csv": "false_positive_rate,true_positive_rate\n0,0.5\n1,1\n",
        "report/pr.csv": "recall,precision\n0,1\n1,0.5\n",
        "report/reliability.csv": "confidence,accuracy\n0.5,0.4\n0.9,0.95\n",
        "model/history.csv": "epoch,train/loss,validation/loss,train/accuracy,validation/accuracy\n"
        "0,0.9,0.8,0.5,0.6\n1,0.5,0.6,0.7,0.65\n",
    }
    shutil.copytree(root / ".dvc", tmp_path / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "config.local"))
    for name, text in tables.items():
        file = tmp_path / "artifacts/fashion" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    plots = [{name: plot} for name, plot in plots_of(root).items() if name.startswith("fashion, ")]
    (tmp_path / "artifacts/dvc.yaml").write_text(yaml.safe_dump({"plots": plots}))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    forked.run([sys.executable, "-m", "dvc", "plots", "show"], cwd=tmp_path, check=True, capture_output=True)

    made = tmp_path / "dvc_plots/index.html"
    assert not re.search(r"<(script|link)[^>]*(src|href)=\"?http", made.read_text())
    context = chromium.new_context(offline=True)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or wrong.append(asked.url))
    page.goto(made.as_uri())
    page.wait_for_function(f"document.querySelectorAll('main canvas').length === {len(plots)}")
    assert page.evaluate("Math.min(...[...document.querySelectorAll('main canvas')].map((one) => one.width))") > 50
    assert wrong == []
    context.close()

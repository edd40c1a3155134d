"""The register stage under DVC and git: another branch's checkout is clean, and nothing is promoted again."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import forked

from flywheel.project.tracking import prepare
from flywheel.registry import log as registry_log
from flywheel.registry import versions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UPSTREAM = [f"{stage}@digits" for stage in ("download", "preprocess", "train", "evaluate", "export")]
DECISION = Path("artifacts/digits/decision.json")
MARGIN = "register:\n  margin: 0.1\n"


class Checkout:
    """A repository with a task whose stages before `register` are committed as if they had run."""

    def __init__(self, folder: Path, digits: Any) -> None:
        self.folder, self.digits = folder, digits
        self.environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
        for name in ("AUTHOR", "COMMITTER"):
            self.environment |= {f"GIT_{name}_NAME": "test", f"GIT_{name}_EMAIL": "test@localhost"}

    def run(self, *words: str) -> str:
        done = forked.run(
            list(words), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def dvc(self, *words: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *words)

    def build(self, model: str) -> None:
        """Put a trained model there, register it as the pipeline would, and commit."""
        self.digits.use(model, self.folder)
        artifacts = self.folder / "artifacts/digits"
        (artifacts / "report").mkdir(exist_ok=True)
        (artifacts / "report/report.html").write_text(model)
        (artifacts / "metrics.json").write_text("{}")
        self.dvc("repro", "-q", "params")
        self.dvc("commit", "-f", *UPSTREAM)
        self.dvc("repro", "-q", "-s", "register@digits")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", model)

    def switch(self, branch: str) -> None:
        """Do what a person does to go to another branch."""
        self.run("git", "checkout", "-q", branch)
        self.dvc("checkout", "-q")


def champion() -> str:
    return str(versions.by_alias(prepare(), "digits", "champion"))


def test_another_branch_s_checkout_is_clean_and_moves_no_alias(
    project: Path, digits: Any, with_tasks: Callable[..., None]
) -> None:
    task = project / "conf/task/digits.yaml"
    task.write_text(task.read_text() + MARGIN)
    (project / "data/feedback/digits").mkdir(parents=True)
    with_tasks("digits")
    lines = (project / "dvc.yaml").read_text().split("\n# `dvc plots show`")[0]
    (project / "dvc.yaml").write_text(lines + "\n")
    checkout = Checkout(project, digits)
    forked.lend_python(project)
    checkout.run("git", "init", "-qb", "main")
    checkout.build("good")
    checkout.run("git", "checkout", "-qb", "other")
    checkout.build("close")
    assert champion() == "digits/2"
    events = registry_log.read("digits")
    for branch in ("main", "other", "main"):
        checkout.switch(branch)
        assert json.loads(checkout.dvc("status", "--json")) == {}
        assert "Running stage" not in checkout.dvc("repro")
        checkout.dvc("repro", "-q", "-f", "-s", "register@digits")  # even where somebody insists
        assert checkout.run("git", "status", "--porcelain") == ""
        assert json.loads(DECISION.read_text())["promoted"]
    assert champion() == "digits/2"
    assert registry_log.read("digits") == events
    assert len(versions.versions_of(prepare(), "digits")) == 2
    # What git does not hold says whether this checkout has registered anything: without it the stage runs.
    (project / "artifacts/digits/registered.json").unlink()
    assert set(json.loads(checkout.dvc("status", "--json"))) == {"register@digits"}

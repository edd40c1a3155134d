"""Figures in documents are those that were measured: the committed results say the same, to the last digit shown.

The committed ones, not those of the working tree: another processor rounds otherwise, and a rebuild there is right.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

HEADLINES = {"fashion": "accuracy", "tweets": "accuracy", "spoken_digits": "accuracy", "breast_cancer": "auc",
             "movielens": "ndcg_10"}  # fmt: skip


def committed(root: Path, path: str) -> Any:
    """A JSON file as the last commit has it; as it lies there where the project is no clone."""
    done = subprocess.run(["git", "-C", str(root), "show", f"HEAD:{path}"], capture_output=True, text=True, check=False)
    return json.loads((root / path).read_text() if done.returncode else done.stdout)


def rows_of(page: str) -> dict[str, list[str]]:
    """The cells of each row of a page's tables, by the row's first cell."""
    lines = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| ")]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in lines}


@pytest.mark.parametrize(("task", "metric"), HEADLINES.items())
def test_readme_shows_the_committed_score_of_each_default_task(root: Path, task: str, metric: str) -> None:
    metrics = committed(root, f"artifacts/{task}/evaluation.json")
    shown = rows_of((root / "README.md").read_text())[task][-1]
    said = metric.replace("ndcg_10", "NDCG@10").replace("auc", "AUC")
    low, high = (metrics[f"{metric}_{end}"] for end in ("low", "high"))
    assert shown == f"{said} {metrics[metric]:.4f} ({low:.4f} to {high:.4f})"


def test_readme_shows_the_committed_decision(root: Path) -> None:
    why = committed(root, "artifacts/fashion/decision.json")["why"]
    assert f"register: {why}\n" in (root / "README.md").read_text()


def test_every_default_task_has_its_row(root: Path) -> None:
    assert set(yaml.safe_load((root / "params.yaml").read_text())["tasks"]) == set(HEADLINES)


def test_compression_page_shows_what_its_benchmark_measured(root: Path) -> None:
    measured = {row[1]: row for row in committed(root, "bench/results/compression.json")["rows"] if row[0] == "fashion"}
    shown = rows_of((root / "docs/compression.md").read_text())
    for form in ("fp32", "student", "student_int8"):
        name = form if form != "fp32" else "fp32`, the teacher"
        assert shown[name][0] == measured[form][2].removeprefix("accuracy ")
        assert shown[name][1] == measured[form][3]


def test_benchmarks_that_the_code_cites_are_in_the_results(root: Path) -> None:
    headings = set(re.findall(r"^## (\w+)", (root / "bench/RESULTS.md").read_text(), re.MULTILINE))
    for file in sorted((root / "src").rglob("*.py")):
        for name in re.findall(r'RESULTS\.md, "(\w+)"', file.read_text()):
            assert name in headings, f"{file.name} cites {name}"

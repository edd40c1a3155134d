from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file
from tests import forked

from flywheel.project.params import task_from

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def stage(root: Path, tmp_path: Path) -> tuple[Path, Run]:
    """A project of one task, with its raw data in place, and a way to run the stage in it."""
    from flywheel.project.compose import compose_task

    folder = tmp_path / "a project"
    for name in ("conf", "src/flywheel"):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root / "tests/fixtures/digits", folder / "data/raw/digits")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    task = asdict(task_from(compose_task(root, ["task=digits"]), "digits"))
    (folder / "params.yaml").write_text(yaml.safe_dump({"tasks": {"digits": task}}))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        # As in a `dvc exp run`: params.yaml may differ from conf/.
        env = {**os.environ, "DVC_ROOT": str(folder), "DVC_EXP_NAME": "test", "PYTHONPATH": str(folder / "src")}
        command = [sys.executable, "-m", "flywheel.preprocess", *words]
        return forked.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)

    return folder, run


def test_stage_makes_the_processed_folder_and_says_so(stage: tuple[Path, Run]) -> None:
    folder, run = stage
    result = run("--task", "digits")
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == [
        "digits: train 51, validation 13, test 16; dropped: 0 bad rows, 0 duplicates within train, "
        "0 equal to a held-out row"
    ]
    assert result.stdout == ""
    out = folder / "data/processed/digits"
    meta = json.loads((out / "meta.json").read_text())
    assert len(load_file(out / "train.safetensors")["image"]) == meta["num_rows"]["train"] == 51
    assert str(folder) not in "".join(path.read_text() for path in out.glob("*.json"))


def test_bad_raw_data_is_one_line_and_exit_code_two(stage: tuple[Path, Run]) -> None:
    folder, run = stage
    (folder / "data/raw/digits/digits.csv.gz").unlink()
    result = run("--task", "digits")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "flywheel: error: data/raw/digits/digits.csv.gz: missing; run the download stage, or fix its name in conf/data/"
    ]


@pytest.mark.parametrize("line", ["preprocess", "preprocessor.pipeline"])
def test_start_imports_nothing_heavy(root: Path, line: str) -> None:
    program = f"import flywheel.{line}, sys; print(*sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(root / "src")}
    loaded = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    names = set(loaded.stdout.split())
    assert f"flywheel.{line}" in names
    assert not names & {"torch", "pytorch_lightning", "mlflow", "matplotlib", "sklearn", "hydra", "omegaconf"}

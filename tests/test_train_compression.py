"""Students and pruned networks, trained as the train stage trains them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from flywheel.learner.tracked import resume_key
from flywheel.project.digest import sha256_of
from flywheel.project.params import load_task
from flywheel.project.whole import read_json

MODEL, TEACHER = Path("artifacts/digits/model"), Path("artifacts/teacher/model")
PARENT = f"trainer.parent={TEACHER}"


@pytest.fixture
def trained(project: Path, processed: Path, run_flywheel: Callable[..., subprocess.CompletedProcess[str]]):
    """Train the task `digits` with these overrides, and with a method of pruning that is edited into params.yaml."""
    from flywheel.project.compose import compose_task

    def train(*overrides: str, by_hand: str | None = None) -> subprocess.CompletedProcess[str]:
        task = compose_task(project, ["task=digits", "trainer.max_epochs=3", *overrides])
        task["trainer"]["prune"]["method"] = by_hand or task["trainer"]["prune"]["method"]
        (project / "params.yaml").write_text(yaml.safe_dump({"tasks": {"digits": task}}))
        return run_flywheel("train", "--task", "digits", DVC_EXP_NAME="quiet")

    return train


@pytest.mark.slow
def test_a_narrow_network_learns_from_its_parent_and_another_loses_its_small_weights(trained) -> None:
    assert trained().returncode == 0
    MODEL.parent.rename(TEACHER.parent)
    done = trained("loss=distillation", PARENT, "model.net.hidden=[24,24]", "trainer.prune.method=structured")
    assert done.returncode == 0, done.stderr
    description = json.loads((MODEL / "model.json").read_text())
    assert description["parent_sha256"] == sha256_of(TEACHER / "model.safetensors")
    rows = (MODEL / "history.csv").read_text().splitlines()
    named = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    assert float(named["validation/accuracy"]) > 0.9
    assert (MODEL / "model.safetensors").stat().st_size < 0.7 * (TEACHER / "model.safetensors").stat().st_size
    first = sha256_of(MODEL / "model.safetensors")
    before = resume_key(load_task("digits"), read_json(Path("data/processed/digits/meta.json")))
    done = trained("trainer.prune.method=magnitude", "trainer.prune.share=0.8", "trainer.keep=last")
    assert done.returncode == 0, done.stderr
    weights = [w for w in load_file(MODEL / "model.safetensors").values() if w.ndim > 1 and w.numel() >= 256]
    zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert zeros == pytest.approx(0.8, abs=0.01)
    assert sha256_of(MODEL / "model.safetensors") != first
    (TEACHER / "model.safetensors").write_bytes(b"another teacher")
    assert "parent_sha256" not in json.loads((MODEL / "model.json").read_text())
    taught = load_task("digits")
    distil = replace(taught.loss.distil, alpha=0.5)
    taught = replace(
        taught, loss=replace(taught.loss, distil=distil), trainer=replace(taught.trainer, parent=str(TEACHER))
    )
    meta = read_json(Path("data/processed/digits/meta.json"))
    key = resume_key(taught, meta)
    (TEACHER / "model.safetensors").write_bytes(b"a third teacher")
    assert resume_key(taught, meta) != key != before


@pytest.mark.slow
def test_a_parent_that_is_not_there_or_does_not_fit_is_one_line(trained) -> None:
    done = trained("loss=distillation", PARENT)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "flywheel: error: trainer.parent: no trained model in artifacts/teacher"
    )
    done = trained(by_hand="structure")
    assert done.returncode == 2
    assert "trainer.prune.method: 'structure' is not known; did you mean 'structured'" in done.stderr

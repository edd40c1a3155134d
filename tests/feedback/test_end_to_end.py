"""The loop by hand: a champion answers, people correct it, the next model has learnt it, and the test set stays."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from tests import forked

from flywheel.feedback.store import FeedbackStore
from flywheel.project.digest import sha256_of, sha256_of_json
from flywheel.reader.format.value import object_column
from flywheel.registry.predictor import Predictor
from flywheel.serving.version.record import Feedback, Prediction

Run = Callable[..., subprocess.CompletedProcess[str]]
NUM_ROWS = 240
CLIENTS = 4


def turned(project: Path, first: int, rows: int) -> tuple[list[Any], list[str]]:
    """Pictures of train on their side, as a new camera might give them, with their labels."""
    train = load_file(project / "data/processed/digits/train.safetensors")
    images = np.rot90(train["image"][first : first + rows, 0], axes=(1, 2))
    return list(np.ascontiguousarray(images)), [str(code) for code in train["target"][first : first + rows]]


def accuracy(project: Path, images: list[Any], labels: list[str]) -> float:
    """Of the model that the project has exported."""
    exported, processed = project / "artifacts/digits/export/fp32.onnx", project / "data/processed/digits"
    predictor = Predictor.load(exported, processed / "preprocessor.json", threads=1)
    answers = predictor.predict(pd.DataFrame({"image": object_column(images)}))
    return float((answers["label"].to_numpy() == np.array(labels)).mean())


def go(run_flywheel: Run, *words: str) -> str:
    done = run_flywheel(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_corrections_become_rows_and_the_next_model_has_learnt_them(
    project: Path, with_tasks: Callable[..., None], run_flywheel: Run, digits: Any
) -> None:
    file = project / "conf/task/digits.yaml"
    file.write_text(file.read_text() + "trainer:\n  max_epochs: 20\n")
    with_tasks("digits")
    digits.use("good", project)
    go(run_flywheel, "register", "--task", "digits")
    processed, feedback = project / "data/processed/digits", project / "data/feedback/digits"
    held = {name: sha256_of(processed / f"{name}.safetensors") for name in ("test", "validation")}
    asked, labels = turned(project, 0, NUM_ROWS)
    others, their_labels = turned(project, NUM_ROWS, NUM_ROWS)
    before = accuracy(project, others, their_labels)

    store = FeedbackStore()
    model = sha256_of(project / "artifacts/digits/model/model.safetensors")
    now = datetime.now(UTC)
    inputs = [{"image": image.tolist()} for image in asked]
    store.record_predictions([
        Prediction(f"p{n}", "digits", 1, model, now, value, sha256_of_json(value), {"label": "0"}, subject=f"s{n % 50}")
        for n, value in enumerate(inputs)
    ])  # fmt: skip
    store.record_feedback([Feedback(f"f{n}", f"p{n}", label, None, now, f"c{n % CLIENTS}")
                           for n, label in enumerate(labels)])  # fmt: skip
    store.close()

    told = go(run_flywheel, "command.cli", "feedback", "pull", "digits")
    assert "data/feedback/digits is changed; run `dvc repro`" in told
    assert "as it was" in go(run_flywheel, "command.cli", "feedback", "pull", "digits")
    manifest = json.loads((project / "data/feedback/digits.json").read_text())
    assert manifest["num_rows"] > 200
    assert "right: " in go(run_flywheel, "command.cli", "feedback", "stats", "digits")

    for stage in ("preprocess", "train", "evaluate", "export", "register"):
        go(run_flywheel, stage, "--task", "digits")
    profile = json.loads((processed / "profile.json").read_text())
    assert profile["feedback"] == {
        "num_rows": manifest["num_rows"], "used": manifest["num_rows"], "sha256": manifest["sha256"]
    }  # fmt: skip
    assert {name: sha256_of(processed / f"{name}.safetensors") for name in held} == held, "what is held out is frozen"
    assert accuracy(project, others, their_labels) > before + 0.2

    traced = go(run_flywheel, "command.cli", "trace", "digits/2")
    assert f"feedback_rows        {manifest['num_rows']}" in traced
    assert manifest["sha256"] in traced
    assert "feedback_rows" not in go(run_flywheel, "command.cli", "trace", "digits/1")
    seen = go(run_flywheel, "command.cli", "trace", "digits/2", "--feedback").split()
    assert seen == sorted(manifest["predictions"])

    assert "pulled rows removed: " in go(run_flywheel, "command.cli", "feedback", "forget", "s7", "--yes")
    left = json.loads((project / "data/feedback/digits.json").read_text())
    assert 0 < left["num_rows"] < manifest["num_rows"]
    assert len(pd.read_parquet(feedback / "rows_lists2.parquet")) == left["num_rows"]


@pytest.mark.slow
def test_dvc_keeps_the_rows_of_each_commit(
    project: Path, with_tasks: Callable[..., None], run_flywheel: Run, digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvc add` of the rows: the commit has their hash, a checkout brings them back, and `preprocess` follows them."""
    with_tasks("digits")
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "test")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@localhost")
    (project / "data/feedback/digits").mkdir(parents=True)
    (project / "data/feedback/digits/.gitkeep").touch()
    digits.use("good", project)
    forked.lend_python(project)
    rows = project / "data/feedback/digits/rows.parquet"

    def run(*words: str) -> str:
        command = [sys.executable, "-m", *words] if words[0] == "dvc" else list(words)
        done = forked.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def pull(number: int) -> bytes:
        store = FeedbackStore()
        value = {"image": f"data:image/png;base64,{picture(number)}"}
        now = datetime.now(UTC)
        store.record_predictions([Prediction(f"p{number}", "digits", 1, "a", now, value, "b", {})])
        store.record_feedback([Feedback(f"f{number}", f"p{number}", "3", None, now)])
        store.close()
        go(run_flywheel, "command.cli", "feedback", "pull", "digits")
        return rows.read_bytes()

    run("git", "init", "-q")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "start")
    first = pull(1)
    run("dvc", "add", "data/feedback/digits/rows.parquet")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "one row")
    tracked = run("git", "ls-files", "data/feedback").split()
    assert tracked == [
        "data/feedback/digits.json", "data/feedback/digits/.gitkeep", "data/feedback/digits/rows.parquet.dvc"
    ]  # fmt: skip
    run("dvc", "repro", "params")
    run("dvc", "commit", "-f", "download@digits")
    run("dvc", "repro", "-s", "preprocess@digits")
    assert pull(2) != first
    assert "data/feedback/digits" in run("dvc", "status", "preprocess@digits")
    run("dvc", "add", "data/feedback/digits/rows.parquet")
    run("git", "commit", "-qam", "two rows")
    run("git", "checkout", "-q", "HEAD~1", "--", "data/feedback")
    run("dvc", "checkout", "data/feedback/digits/rows.parquet.dvc")
    assert rows.read_bytes() == first


def picture(number: int) -> str:
    import base64
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8)).astype(np.uint8)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()

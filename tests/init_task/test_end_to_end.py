"""What a new user brings goes from file to registered model with two commands, and no Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import forked
from tests.conftest import only_warn_of_baselines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class User:
    """Somebody at the command line of a fresh project."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.environment = {**os.environ, "PYTHONPATH": str(project / "src"), "COLUMNS": "200"}

    def run(self, *words: str) -> str:
        done = forked.run(
            [sys.executable, "-m", *words], cwd=self.project, env=self.environment, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def build(self, name: str, *words: str) -> dict[str, Any]:
        """`flywheel init-task`, then `dvc repro`; gives the decision."""
        said = self.run("flywheel.command.cli", "init-task", name, *words)
        assert f"dvc repro register@{name}" in said
        self.run("dvc", "repro", f"register@{name}")
        decision: dict[str, Any] = json.loads((self.project / f"artifacts/{name}/decision.json").read_text())
        assert decision["promoted"]
        assert f"{name}/1" in self.run("flywheel.command.cli", "registry", "list", name)
        assert "up to date" in self.run("dvc", "repro", f"register@{name}")
        return decision

    def predict(self, name: str, *files: Path) -> list[dict[str, Any]]:
        output = self.project / "answers.jsonl"
        self.run("flywheel.command.cli", "predict", name, *map(str, files), "--output", str(output))
        return [json.loads(line) for line in output.read_text().splitlines()]


@pytest.fixture
def user(project: Path, with_tasks: Callable[..., None]) -> User:
    (project / "conf/config.yaml").write_text("defaults:\n  - _self_\n")
    (project / "data").mkdir(exist_ok=True)
    only_warn_of_baselines(project)
    user = User(project)
    forked.lend_python(project)
    user.run("dvc", "config", "--local", "core.no_scm", "true")
    return user


@pytest.mark.end_to_end
def test_a_csv_file_with_classes(user: User, data: Any) -> None:
    table = user.project / "data/flowers.csv"
    data.flowers(200).assign(note="", serial=range(200)).to_csv(table, index=False, sep=";", encoding="latin-1")
    decision = user.build("flowers", "--from", "data/flowers.csv", "--target", "species")
    assert (decision["metric"], decision["num_rows"]) == ("accuracy", 40)
    assert decision["candidate_value"] > 0.8
    data.flowers(10, seed=1).drop(columns="species").to_csv(user.project / "new.csv", index=False)
    answers = user.predict("flowers", user.project / "new.csv")
    truth = data.flowers(10, seed=1)["species"].tolist()
    assert sum(answer["label"] == label for answer, label in zip(answers, truth, strict=True)) >= 8


def test_a_csv_file_with_a_number(user: User, data: Any, tmp_path: Path) -> None:
    """It lies outside the project, and stays there."""
    frame = data.flowers(200).assign(weight=lambda f: (10 * f.length_0 + f.length_1**2 + 100).round(2))
    frame.drop(columns="species").to_parquet(tmp_path / "weights.parquet")
    decision = user.build("weights", "--from", str(tmp_path / "weights.parquet"), "--target", "weight")
    assert decision["metric"] == "rmse"
    assert decision["candidate_value"] < 0.6 * frame["weight"].std()
    answers = user.predict("weights", tmp_path / "weights.parquet")
    assert len(answers) == 200
    assert sum(abs(answer["label"] - weight) for answer, weight in zip(answers, frame["weight"], strict=True)) < (
        0.6 * 200 * frame["weight"].std()
    )


def test_jsonl_of_texts(user: User, data: Any) -> None:
    data.reviews(150).to_json(user.project / "data/reviews.jsonl", orient="records", lines=True)
    decision = user.build("reviews", "--from", "data/reviews.jsonl")
    assert decision["candidate_value"] > 0.8
    (user.project / "new.txt").write_text("the bath was lovely and the tea was great and warm")
    assert [answer["label"] for answer in user.predict("reviews", user.project / "new.txt")] == ["good"]


def test_a_folder_of_pictures(user: User, data: Any) -> None:
    classes = {name: [data.picture(level, i) for i in range(30)] for name, level in (("dark", 60), ("light", 190))}
    folder = data.write_folder(user.project / "data/shades", classes, ".png")
    decision = user.build("shades", "--from", "data/shades")
    assert decision["candidate_value"] > 0.8
    assert [answer["label"] for answer in user.predict("shades", folder / "light/3.png")] == ["light"]


def test_a_folder_of_recordings(user: User, data: Any) -> None:
    classes = {name: [data.tone(pitch + 7 * i) for i in range(30)] for name, pitch in (("low", 200), ("high", 1500))}
    folder = data.write_folder(user.project / "data/tones", classes, ".wav")
    decision = user.build("tones", "--from", "data/tones")
    assert decision["candidate_value"] > 0.8
    assert [answer["label"] for answer in user.predict("tones", folder / "low/3.wav")] == ["low"]


def test_interactions(user: User, data: Any) -> None:
    data.purchases(60, 30, 10).to_csv(user.project / "data/purchases.csv", index=False)
    decision = user.build("purchases", "--from", "data/purchases.csv")
    assert decision["metric"] == "ndcg_10"
    (user.project / "new.jsonl").write_text('{"user": "u3"}\n')
    assert user.predict("purchases", user.project / "new.jsonl")


@pytest.mark.parametrize("how", ["--temp", "--queue"])
def test_a_fresh_task_runs_in_an_experiment_s_copy_after_the_commands_that_are_printed(
    user: User, data: Any, how: str
) -> None:
    (user.project / ".dvc/config.local").unlink()
    # The queue's workers are started as `dvc`, which an active environment has on its path.
    user.environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for name in ("AUTHOR", "COMMITTER"):
        user.environment |= {f"GIT_{name}_NAME": "test", f"GIT_{name}_EMAIL": "test@localhost"}
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run(["git", *words], cwd=user.project, env=user.environment, check=True)
    data.flowers().to_csv(user.project / "data/my own.csv", index=False)
    said = user.run("flywheel.command.cli", "init-task", "flowers", "--from", "data/my own.csv", "--target", "species")
    printed = said.split("hold only what git and DVC know:\n")[1].strip()
    assert printed == "dvc add 'data/my own.csv' && git add conf data"
    user.run("dvc", "add", "data/my own.csv")
    subprocess.run(["git", "add", "conf", "data"], cwd=user.project, check=True)
    user.run("dvc", "exp", "run", how, "--name", "first", "preprocess@flowers")
    if how == "--queue":
        user.run("dvc", "exp", "run", "--run-all")
    assert "first" in user.run("dvc", "exp", "list")

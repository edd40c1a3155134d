"""The ready spaces of `conf/sweep/`: each composes with the tasks that it names, and trains."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from flywheel.sweep.search.command_line import compose_command_line
from flywheel.sweep.search.folder import trials_in

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]
TASKS = {
    "image": ["fashion", "mnist5k", "digits"],
    "text": ["phrases", "imdb"],
    "text_nets": ["words"],
    "speech": ["spoken_digits", "fsdd"],
    "tabular": ["breast_cancer", "diabetes"],
    "boosted_trees": ["cells"],
    "recommender": ["movielens"],
}
SMALL = {
    "image": "digits", "text": "phrases", "text_nets": "words", "speech": "spoken_digits", "tabular": "breast_cancer",
    "recommender": "movielens", "boosted_trees": "cells",
}  # fmt: skip


@pytest.fixture
def words(project: Path) -> Path:
    """Tasks on texts whose files set nothing of the network, as the spaces want it."""
    text = (project / "conf/task/tweets.yaml").read_text()
    text = re.sub(r"^model:\n(  .*\n)+", "", text, flags=re.MULTILINE)
    for name, model in (("phrases", "ngram_linear"), ("words", "bag_of_embeddings")):
        own = text.replace("/model: tfidf_linear", f"/model: {model}").replace("name: tweets", f"name: {name}")
        if name == "words":
            own = own.replace("num_characters: 160", "num_characters: 0")  # only ngram_linear takes them
        (project / f"conf/task/{name}.yaml").write_text(own)
    text = (
        (project / "conf/task/breast_cancer.yaml").read_text().replace("/model: mlp_tabular", "/model: boosted_trees")
    )
    text = re.sub(r"^model:\n(  .*\n)+", "", text, flags=re.MULTILINE)
    (project / "conf/task/cells.yaml").write_text(text.replace("name: breast_cancer", "name: cells"))
    return project


def test_every_space_is_tried_here_and_stands_in_the_docs() -> None:
    files = {file.stem: yaml.safe_load(file.read_text()) for file in (ROOT / "conf/sweep").glob("*.yaml")}
    spaces = {name for name, raw in files.items() if raw.get("params")}
    assert spaces == set(TASKS) == set(SMALL)
    page = (ROOT / "docs/search.md").read_text()
    assert all(f"`+sweep={name}`" in page for name in files)


@pytest.mark.parametrize("name", TASKS)
def test_a_space_composes_with_its_tasks_whatever_is_drawn(words: Path, name: str) -> None:
    for task in TASKS[name]:
        compose_command_line([f"task={task}", f"+sweep={name}"]).check_targets()


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_two_trials_of_a_space_train(words: Path, run_flywheel: Run, name: str) -> None:
    for data in (words / "conf/data").glob("*.yaml"):  # the fixtures are not the whole files that sums are promised of
        without_sums = (r"^( {4}\S+:)\n {6}sha256: .*\n {6}num_bytes: .*\n", r"\1 {}\n")
        data.write_text(re.sub(*without_sums, data.read_text(), flags=re.MULTILINE))
    few = [f"task={SMALL[name]}", f"+sweep={name}", "sweep.num_trials=2", "trainer.max_epochs=1"]
    done = run_flywheel("train", "-m", *few, FLYWHEEL_MIRROR=str(ROOT / "tests/fixtures"))
    assert done.returncode == 0, done.stderr[-3000:]
    (folder,) = (words / ".flywheel/sweeps" / SMALL[name]).glob("*")
    assert [trial.state for trial in trials_in(folder)] == ["complete", "complete"]

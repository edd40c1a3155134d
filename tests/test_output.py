"""What commands print: nothing is cut, in a terminal of 80 columns or in a pipe; and JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.table import Table
from tests.feedback.conftest import prediction, word
from typer.testing import CliRunner

from flywheel.command.cli import app
from flywheel.command.output import show_table
from flywheel.command.predict import STDOUT, Predictions, table
from flywheel.feedback.store import FeedbackStore

WORDS = ["breast_cancer/12 [bold]", "champion, candidate", " ".join(f"word{n}" for n in range(40)), ""]


def wide() -> Table:
    made = Table("version", "aliases", "why it was promoted", "nothing", title="all versions")
    made.add_row(*WORDS)
    return made


def test_a_table_in_a_pipe_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(wide())
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "word0" in line]
    assert all(word in line for word in WORDS), "whole, and [bold] is no markup"


def test_a_table_that_is_wider_than_the_terminal_is_stacked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    monkeypatch.setenv("COLUMNS", "80")
    show_table(wide())
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert out.splitlines()[:3] == ["all versions", WORDS[0], "  aliases              champion, candidate"]
    assert [word for line in out.splitlines() for word in line.split() if word.startswith("word")] == WORDS[2].split()
    assert "nothing" not in out, "empty cells are left out"
    narrow = Table("version")
    narrow.add_row("digits/1")
    show_table(narrow)
    assert "━" in capsys.readouterr().out, "what fits stays a table"


def test_commands_give_json(at_store: Path) -> None:
    def ask(*words: str) -> object:
        done = CliRunner().invoke(app, [*words, "--json"])
        return json.loads(done.stdout)

    listed = ask("registry", "list", "digits")
    assert isinstance(listed, dict)
    versions = {one["version"]: one for one in listed["versions"]}
    assert "champion" in versions["digits/1"]["aliases"]
    assert versions["digits/1"]["decision"]["metric"] == "accuracy"
    assert listed["history"][0]["action"] == "promoted"
    (traced,) = ask("trace", "digits/1")  # type: ignore[misc]
    assert traced["model_sha256"] == versions["digits/1"]["model_sha256"]
    Path("conf").mkdir()
    Path("dvc.yaml").touch()
    Path("params.yaml").write_text("tasks: {}\n")
    store = FeedbackStore.of_project()
    store.record_predictions([prediction("p1", {"a": 1}), prediction("p2", {"a": 2})])
    store.record_feedback([word("w1", "p1", "0"), word("w2", "p2", "7")])
    stats = ask("feedback", "stats", "digits")
    assert isinstance(stats, dict)
    assert (stats["task"], stats["num_predictions"], stats["accuracy"]) == ("digits", 2, 0.5)
    assert stats["classes"] == {"0": 1, "7": 1}


def test_predictions_go_to_standard_output(at_store: Path) -> None:
    np.save("two.npy", np.zeros((2, 8, 8), np.uint8))
    done = CliRunner().invoke(app, ["predict", "digits", "two.npy", "--output", str(STDOUT)])
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["file"], one["row"], one["version"]) for one in rows] == [("two.npy", n, "digits/1") for n in (0, 1)]
    assert not Path("-").exists()


def test_recommended_items_have_their_titles() -> None:
    head = pd.DataFrame({"file": ["a.jsonl"], "label": ["50"], "items": [["50", "9"]], "scores": [[0.25, 0.125]]})
    done = Predictions("films/1", "a" * 64, 1, head, None, titles={"50": "Star Wars"})
    (row,) = zip(*(column.cells for column in table(done).columns), strict=True)
    assert row == ("a.jsonl", "50 Star Wars", "50 Star Wars; 9", "0.2500; 0.1250")

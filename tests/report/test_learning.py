from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flywheel.modality.interactions.report import KINDS as RANKING_KINDS
from flywheel.project.errors import ModelError
from flywheel.report.classification import KINDS
from flywheel.report.learning import learning_section, read_history

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "step": [10, 20, 30],
        "lr": [0.1, 0.1, 0.1],
        "train/loss": [1.0, 0.5, 0.3],
        "validation/f1_macro": [0.5, 0.8, 0.7],
        "validation/loss": [1.1, 0.6, 0.7],
    }
)


def test_best_epoch_counts_from_one_and_is_marked() -> None:
    section = learning_section(HISTORY, best_epoch=2, kinds=KINDS)
    assert section.lead == "The weights are those of epoch 2 of 3. Later epochs did no better on validation."
    loss, f1 = section.pictures[0].figure.axes
    assert (loss.get_title(loc="left"), f1.get_title(loc="left")) == ("Loss", "F1, macro")
    marked = [np.asarray(line.get_xdata()).tolist() for line in loss.lines if line.get_marker() == "o"]
    assert [2] in marked


def test_last_epoch_is_no_reason_to_say_more() -> None:
    assert learning_section(HISTORY, best_epoch=3, kinds=KINDS).lead == "The weights are those of epoch 3 of 3."


def test_history_without_validation_shows_train() -> None:
    history = HISTORY.drop(columns=["validation/loss", "validation/f1_macro"])
    assert len(learning_section(history, best_epoch=3, kinds=KINDS).pictures[0].figure.axes) == 1


def test_history_of_a_single_epoch_can_be_drawn() -> None:
    assert learning_section(HISTORY[:1], best_epoch=1, kinds=KINDS).pictures[0].alt.endswith("the kept epoch is 1.")


@pytest.mark.parametrize(("text", "why"), [(None, "missing"), ("", "damaged"), ("a,b\n1,2\n", "no column epoch")])
def test_a_bad_history_is_named(tmp_path: Path, text: str | None, why: str) -> None:
    file = tmp_path / "history.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ModelError, match=f"history.csv: .*{why}"):
        read_history(file)


def test_metrics_are_called_as_in_the_report_and_each_panel_is_a_figure_of_its_own() -> None:
    history = HISTORY.rename(columns=lambda name: name.replace("f1_macro", "mrr"))
    (picture,) = learning_section(history, best_epoch=2, kinds=RANKING_KINDS).pictures
    assert [panel.title for panel in picture.panels] == ["Loss", "MRR"]
    assert all(panel.figure.get_size_inches()[0] < 4 for panel in picture.panels), "a phone shows it whole"

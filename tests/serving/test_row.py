"""What a server is told of a row by the folder of its kind of data, which need not know everything."""

from pathlib import Path

import pandas as pd
import pytest

import flywheel.modality
from flywheel.modality.text.data.preprocessor import TextPreprocessor
from flywheel.modality.text.data.tokeniser.word import WordTokeniser
from flywheel.serving.row import Load, choices_of, load_of, parts_of, sizes_of


def test_a_modality_s_row_may_tell_some_of_what_there_is_to_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weighed").mkdir()
    (tmp_path / "weighed/__init__.py").touch()
    (tmp_path / "weighed/row.py").write_text(
        "from flywheel.serving.row import Load\n\n\ndef load_of(inputs, row):\n    return Load(samples=7)\n"
    )
    monkeypatch.setattr(flywheel.modality, "__path__", [*flywheel.modality.__path__, str(tmp_path)])
    home = {"__module__": "flywheel.modality.weighed.data.preprocessor"}
    inputs = type("WeighedPreprocessor", (TextPreprocessor,), home)(WordTokeniser())
    assert load_of(inputs, {"text": "good tea"}) == Load(samples=7)
    assert parts_of(inputs, pd.DataFrame({"text": ["good tea"]})) == []
    assert (choices_of(inputs), sizes_of(inputs)) == ({}, {})

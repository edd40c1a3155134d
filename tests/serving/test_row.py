"""What a server is told of a row by the folder of its kind of data, which need not know everything."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import flywheel.modality
from flywheel.modality.text.data.preprocessor import TextPreprocessor
from flywheel.modality.text.data.tokeniser.word import WordTokeniser
from flywheel.serving.row import PLAIN, Field, Load, choices_of, fields_of, form_of, forms, load_of, parts_of


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
    assert choices_of(inputs) == {}
    assert fields_of(inputs) == {"text": Field("text", {})}, "the form of the class that it inherits from"


def test_each_modality_has_a_form_and_classes_of_other_places_have_the_plain_one(root: Path) -> None:
    rooms = {file.parent.name for file in (root / "src/flywheel/modality").glob("*/row.py")}
    assert set(forms()) == rooms - {"joint"}, "in a joint row each part has its own"
    strange: Any = type("Strange", (), {"__module__": "text.data.preprocessor"})()
    assert form_of(strange) == PLAIN

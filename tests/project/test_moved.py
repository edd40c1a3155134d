"""What older versions and settings name by the module that it was in then is found where it is now."""

import importlib
import json
from pathlib import Path

import pytest

from flywheel.preprocessor.task import load_preprocessor
from flywheel.project.instantiate import locate
from flywheel.project.kind import READER
from flywheel.project.moved import MOVED, present_name


@pytest.mark.parametrize("old", MOVED)
def test_every_module_that_has_moved_is_there(old: str) -> None:
    assert importlib.import_module(MOVED[old]).__name__ == MOVED[old]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(old)


def test_a_preprocessor_that_was_stored_before_the_move_is_the_same(digits, tmp_path: Path) -> None:
    stored = (digits.folder / "data/processed/digits/preprocessor.json").read_text()
    now = "flywheel.modality.image.data.preprocessor.ImagePreprocessor"
    assert now in stored
    old = tmp_path / "preprocessor.json"
    old.write_text(stored.replace(now, "flywheel.preprocessor.image.ImagePreprocessor"))
    assert json.dumps(load_preprocessor(old).inputs.to_json()) == json.dumps(json.loads(stored)["inputs"])


def test_a_setting_of_old_is_taken_and_another_place_stays_as_it_is() -> None:
    node = {"_target_": "flywheel.reader.image_folder.ImageFolderReader"}
    assert locate(node, READER, where="data.reader.read").__module__ == "flywheel.modality.image.data.folder"
    assert present_name("flywheel.reader.table.TableReader") == "flywheel.reader.table.TableReader"

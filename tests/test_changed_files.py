"""`model.json` and `preprocessor.json` changed in every field: they behave, or are one clear error; nothing runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.modality.tabular.data.preprocessor import TabularPreprocessor
from flywheel.modality.text.data.preprocessor import TextPreprocessor
from flywheel.modality.text.data.tokeniser.bpe import BpeTokeniser
from flywheel.modality.text.data.tokeniser.word import WordTokeniser
from flywheel.model.network import build_network, load_network, save_network
from flywheel.preprocessor.base import Preprocessor
from flywheel.preprocessor.number_target import NumberTarget
from flywheel.preprocessor.target import ClassTarget
from flywheel.preprocessor.task import TaskPreprocessor, load_preprocessor
from flywheel.project.errors import FlywheelError

RUNS = {"_target_": "os.system", "command": "touch pwned"}
VALUES: tuple[Any, ...] = (None, True, -1, 2**62, 0.5, "", "meta.nothing", "os.system", [], {}, [RUNS], RUNS)


def changed(state: Any) -> Iterator[tuple[str, Any]]:
    """A file's content with one thing changed: each key removed, one added to each mapping, each value replaced."""

    def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        items = node.items() if isinstance(node, dict) else enumerate(node[:3]) if isinstance(node, list) else ()
        for key, value in items:
            yield (*path, key)
            yield from places(value, (*path, key))

    for path in places(state):
        for value in (..., *VALUES):
            whole = copy.deepcopy(state)
            node = whole
            for key in path[:-1]:
                node = node[key]
            if value is ...:
                del node[path[-1]]
            else:
                node[path[-1]] = value
            yield f"{path}: {value!r:.40}", whole
    yield "added", {**state, "odd": RUNS}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "pwned").exists()


def fitted(name: str) -> TaskPreprocessor:
    inputs: Preprocessor
    if name == "image":
        inputs, frame = ImagePreprocessor(), pd.DataFrame({"image": [[[0, 9], [200, 3]], [[7, 7], [1, 255]]]})
    elif name == "tabular":
        inputs = TabularPreprocessor(min_count=1)
        frame = pd.DataFrame({"size": ["1", "2.5", "4", ""], "kind": ["a", "b", "a", "b"]})
    else:
        inputs = TextPreprocessor(WordTokeniser() if name == "text" else BpeTokeniser(vocabulary_size=300))
        frame = pd.DataFrame({"text": ["a b c", "b c", "c"]})
    target = NumberTarget() if name == "tabular" else ClassTarget()
    inputs.fit([frame])
    target.fit([pd.Series([["1", "2"][n % 2] for n in range(len(frame))], index=frame.index)])
    return TaskPreprocessor(inputs, target)


def check_every_change(file: Path, state: dict[str, Any], load: Callable[[], object]) -> None:
    """Load the file with each of its fields changed: it behaves, or is one clear line."""
    refused, odd = 0, []
    for what, content in changed(state):
        file.write_text(json.dumps(content))
        try:
            load()
        except FlywheelError as error:
            refused += 1
            odd += [what] if "\n" in str(error) else []
        except Exception as error:  # noqa: BLE001 - each of them is told
            odd.append(f"{what}: {error!r:.100}")
    assert not odd, "\n".join(odd[:20])
    assert refused > 50


@pytest.mark.parametrize("name", ["image", "tabular", "text", "bpe"])
def test_a_changed_preprocessor_behaves_or_is_one_clear_error(name: str, tmp_path: Path) -> None:
    file = tmp_path / "preprocessor.json"
    fitted(name).save(file)
    state = json.loads(file.read_text())
    load_preprocessor(file)
    check_every_change(file, state, lambda: load_preprocessor(file))


def test_a_changed_model_behaves_or_is_one_clear_error(tmp_path: Path) -> None:
    numeric = {"dtype": "float32", "shape": [4], "mean": [0.0] * 4, "std": [1.0] * 4}
    meta = {"inputs": {"numeric": numeric, "categories": {"dtype": "int64", "shape": [0]}}, "num_outputs": 3}
    net = {
        "_target_": "flywheel.model.linear.Linear",
        "num_numeric": 4,
        "cardinalities": [],
        "num_outputs": "meta.num_outputs",
    }
    link = {"_target_": "torch.nn.Softmax", "dim": -1}
    save_network(tmp_path, build_network(net, meta), {"task": "t", "net": net, "link": link, "meta": meta})
    file = tmp_path / "model.json"
    state = json.loads(file.read_text())
    assert load_network(tmp_path).description == state

    def load() -> None:
        assert isinstance(load_network(tmp_path).link, torch.nn.Module)

    check_every_change(file, state, load)

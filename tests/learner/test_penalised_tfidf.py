"""The fit of TF-IDF with a linear model: the net answers what scikit-learn's model of the net's own values answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression

from flywheel.learner.estimator.fit import fit
from flywheel.model.network import LoadedNetwork, load_network
from flywheel.model.tfidf_linear import TfidfLinear
from flywheel.project.compose import compose_task
from flywheel.project.config import TaskConfig
from flywheel.project.errors import ConfigError
from flywheel.project.params import task_from

WORDS, ROWS = 30, 200
PENALTY = ["model.fit.strongest=0.1", "model.fit.weakest=0.1", "model.fit.num_penalties=1", "model.fit.tolerance=1e-9"]


def texts(seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Rows of 2 to 8 words; the first word of a row leans to its class, and words from 25 on are in few rows."""
    generator = np.random.default_rng(seed)
    target = generator.integers(0, 3, ROWS)
    tokens = generator.integers(2, 25, (ROWS, 8)).astype(np.int32)
    tokens[:, 0] = 2 + target + 3 * generator.integers(0, 2, ROWS)
    tokens[0, 1] = tokens[1, 1] = 26 if seed == 0 else 27
    tokens[np.arange(8) >= generator.integers(2, 9, ROWS)[:, None]] = 0
    characters = np.zeros((ROWS, 20), dtype=np.uint8)
    characters[:, :15] = generator.choice(np.frombuffer(b"abcd ", dtype=np.uint8), (ROWS, 15))
    return {"tokens": tokens, "characters": characters, "target": target, "row": np.arange(ROWS)}


def fitted(root: Path, folder: Path, *words: str, net: str = "") -> LoadedNetwork:
    given = ["model.net.buckets=64", "model.net.character_ngrams=3", "model.net.character_buckets=32", *words]
    plain = compose_task(root, ["task=digits", "model=tfidf_linear", "trainer.refit=false", *given])
    task: TaskConfig = task_from(plain, "")
    if net:
        node = {"_target_": net, "vocabulary_size": WORDS, "num_outputs": 3, "character_ngrams": 2}
        task = replace(task, model=replace(task.model, net=node))
    for place, name in enumerate(("train", "validation")):
        save_file(texts(place), folder / f"{name}.safetensors")
    inputs = {"tokens": {"dtype": "int32", "shape": [8], "padding": 0},
              "characters": {"dtype": "uint8", "shape": [20], "padding": 0}}  # fmt: skip
    meta = {"inputs": inputs, "vocabulary_size": WORDS, "num_outputs": 3, "num_classes": 3}
    (folder / "model").mkdir()
    nothing: Any = lambda *_: None  # noqa: E731
    fit(
        task,
        folder,
        meta,
        folder / "model",
        folder / "last.ckpt",
        on_start=nothing,
        on_row=nothing,
    )
    return load_network(folder / "model")


def design(net: TfidfLinear, arrays: dict[str, torch.Tensor]) -> np.ndarray[Any, Any]:
    """The values that the net gives, a column each row of its tables."""
    assert net.pieces is not None
    blocks = []
    for part, features in ((net.words, net.word_features(arrays["tokens"])),
                           (net.pieces, net.piece_features(arrays["characters"]))):  # fmt: skip
        places, values = part.values(features)
        blocks.append(torch.zeros(len(values), len(part.idf)).scatter_add_(1, places, values).double().numpy())
    return np.concatenate(blocks, axis=1)


def test_the_net_answers_as_scikit_learn_s_model_of_its_values(root: Path, tmp_path: Path) -> None:
    loaded = fitted(root, tmp_path, *PENALTY)
    net: Any = loaded.network.net
    train, given = ({name: torch.from_numpy(array) for name, array in texts(seed).items()} for seed in (0, 1))
    model = LogisticRegression(C=10.0, solver="newton-cholesky", tol=1e-10).fit(design(net, train), train["target"])
    scores = loaded.predict({name: given[name] for name in ("tokens", "characters")}).numpy()
    assert np.abs(scores - model.predict_proba(design(net, given))).max() < 1e-5
    has_26 = int((train["tokens"] == 26).any(dim=1).sum())
    assert net.words.idf[26].item() == pytest.approx(np.log((1 + ROWS) / (1 + has_26)) + 1)
    assert net.words.idf[[0, 27]].tolist() == [0.0, 0.0], "padding, and a word that train has not"
    assert not net.words.table.weight[27].any()


def test_rare_n_grams_can_be_left_out(root: Path, tmp_path: Path) -> None:
    net: Any = fitted(root, tmp_path, *PENALTY, "model.fit.min_rows=3").network.net
    assert net.words.idf[26] == 0
    assert net.words.idf[2] > 0


def test_another_net_is_refused(root: Path, tmp_path: Path) -> None:
    said = "model.fit: fits flywheel.model.tfidf_linear.TfidfLinear, not NgramLinear; take `model=tfidf_linear`"
    with pytest.raises(ConfigError, match=said):
        fitted(root, tmp_path, net="flywheel.model.ngram_linear.NgramLinear")

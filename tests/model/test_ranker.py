"""What holds for every recommender."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from flywheel.model.matrix_factorization import MatrixFactorization
from flywheel.model.network import LoadedNetwork, Network
from flywheel.model.neural_cf import NeuralCF
from flywheel.model.ranker import Ranker, mean_vector, recent_items
from flywheel.model.two_tower import TwoTower
from flywheel.registry.onnx_export import export_onnx
from flywheel.registry.onnx_model import OnnxModel

NUM_USERS, NUM_ITEMS, LENGTH = 4, 30, 12


@pytest.fixture(params=[MatrixFactorization, NeuralCF, TwoTower])
def ranker(request: pytest.FixtureRequest) -> Ranker:
    torch.manual_seed(0)
    made: Ranker = request.param(NUM_USERS, NUM_ITEMS, width=8, window=5)
    for parameter in made.parameters():  # no zeros: a bias that is left out must be seen
        parameter.data += 0.1 * torch.randn_like(parameter)
    made.eval()
    return made


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    history = torch.zeros(6, LENGTH, dtype=torch.int16)
    generator = torch.Generator().manual_seed(1)
    for row, length in enumerate((0, 1, 3, 7, 12, 2)):
        history[row, :length] = (torch.randperm(NUM_ITEMS, generator=generator)[:length] + 1).to(torch.int16)
    return {"user": torch.tensor([1, 2, 0, 4, 3, 0], dtype=torch.int32), "history": history}


def test_items_of_the_history_are_ruled_out_and_no_other(ranker: Ranker, inputs: dict[str, Tensor]) -> None:
    scores = ranker(**inputs).softmax(dim=-1)
    assert scores.shape == (6, NUM_ITEMS)
    for row, history in enumerate(inputs["history"].tolist()):
        seen = {code - 1 for code in history if code}
        assert {column for column, score in enumerate(scores[row].tolist()) if score == 0} == seen


def test_candidates_have_the_scores_of_their_columns(ranker: Ranker, inputs: dict[str, Tensor]) -> None:
    whole = ranker(**inputs)
    candidates = torch.stack([torch.randperm(NUM_ITEMS)[:9] for _ in range(6)])
    wanted = whole.gather(1, candidates)
    free = wanted > -1e8
    torch.testing.assert_close(ranker(**inputs, candidates=candidates)[free], wanted[free])


def test_more_padding_changes_nothing(ranker: Ranker, inputs: dict[str, Tensor]) -> None:
    wider = torch.cat([inputs["history"], torch.zeros(6, 5, dtype=torch.int16)], dim=1)
    torch.testing.assert_close(ranker(inputs["user"], wider), ranker(**inputs))


def test_an_unknown_user_is_served_by_the_history(ranker: Ranker, inputs: dict[str, Tensor]) -> None:
    unknown = torch.zeros(2, dtype=torch.int32)
    one, other = ranker(unknown, inputs["history"][[2, 3]]).softmax(dim=-1)
    assert not torch.allclose(one, other)
    assert torch.isfinite(ranker(unknown, torch.zeros(2, LENGTH, dtype=torch.int16))).all()


def test_user_dropout_takes_users_for_unknown_in_training_alone(ranker: Ranker, inputs: dict[str, Tensor]) -> None:
    ranker.user_dropout = 0.999
    for module in ranker.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    unknown = {**inputs, "user": torch.zeros_like(inputs["user"])}
    assert not torch.allclose(ranker(**inputs), ranker(**unknown))
    wanted = ranker(**unknown)
    torch.manual_seed(0)
    ranker.train()
    torch.testing.assert_close(ranker(**inputs), wanted)


def test_onnx_gives_the_same_scores_for_any_number_of_rows(
    ranker: Ranker, inputs: dict[str, Tensor], tmp_path: Path
) -> None:
    specs = {"user": {"dtype": "int32", "shape": []}, "history": {"dtype": "int16", "shape": [LENGTH], "padding": 0}}
    loaded = LoadedNetwork(Network(ranker, specs).eval(), torch.nn.Identity(), {"inputs": specs}, {}, "0")
    export_onnx(loaded, tmp_path / "model.onnx", opset=20)
    model = OnnxModel(tmp_path / "model.onnx", threads=1)
    for rows in (1, 6):
        part = {key: values[:rows] for key, values in inputs.items()}
        got = model.scores({key: values.numpy() for key, values in part.items()})
        np.testing.assert_allclose(got, loaded.predict(part).numpy(), atol=1e-4, rtol=1e-6)


def test_it_can_learn_which_items_go_together(ranker: Ranker) -> None:
    user, item = torch.zeros(NUM_ITEMS, dtype=torch.int32), torch.arange(NUM_ITEMS)
    history, target = (item + 1)[:, None], item ^ 1
    optimizer = torch.optim.Adam(ranker.parameters(), 0.05)
    before = torch.nn.functional.cross_entropy(ranker(user, history), target)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(ranker(user, history), target).backward()
        optimizer.step()
    after = torch.nn.functional.cross_entropy(ranker(user, history), target)
    assert after < before / 2


def test_recent_items_come_most_recent_first() -> None:
    history = torch.tensor([[5, 6, 7, 0], [1, 2, 3, 4], [0, 0, 0, 0]])
    assert recent_items(history, 2).tolist() == [[7, 6], [4, 3], [0, 0]]
    assert recent_items(history, 6).tolist()[0] == [7, 6, 5, 0, 0, 0]


def test_a_mean_leaves_padding_out() -> None:
    vectors = torch.nn.Embedding(4, 1, padding_idx=0)
    vectors.weight.data = torch.tensor([[0.0], [1.0], [3.0], [8.0]])
    assert mean_vector(vectors, torch.tensor([[1, 2, 0], [0, 0, 0]])).tolist() == [[2.0], [0.0]]


@pytest.mark.parametrize(
    "given", [{"num_users": 0}, {"num_items": 1}, {"user_dropout": 1.0}, {"width": 0}, {"window": 0}]
)
@pytest.mark.parametrize("kind", [MatrixFactorization, NeuralCF, TwoTower])
def test_numbers_out_of_range_are_refused(kind: type, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"required|must be"):
        kind(**{"num_users": 2, "num_items": 3, **given})

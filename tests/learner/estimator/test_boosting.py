"""LightGBM's trees, found and then answered by arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import torch
from torch import nn

from flywheel.learner.estimator.base import FitCandidate, FitProblem, Rows
from flywheel.learner.estimator.boosting import BoostedTrees, objective_of
from flywheel.model.linear import Linear
from flywheel.model.link import Rate, Unscale
from flywheel.model.network import LoadedNetwork, Network
from flywheel.model.trees import Trees
from flywheel.project.config import LossConfig
from flywheel.project.errors import ConfigError
from flywheel.registry.onnx_export import export_onnx
from flywheel.registry.onnx_model import OnnxModel

SQUARES = {"_target_": "torch.nn.MSELoss"}
ENTROPY = {"_target_": "torch.nn.CrossEntropyLoss", "label_smoothing": 0.0}
INPUTS = {"numeric": {"dtype": "float32", "shape": [4], "mean": [5.0] * 4, "std": [2.0] * 4},
          "categories": {"dtype": "int32", "shape": [2]}}  # fmt: skip


def problem(outputs: int, criterion: dict[str, Any], *, num_rows: int = 600, weighted: bool = False) -> FitProblem:
    """A table with missing numbers, and a category whose codes matter as sets."""
    generator = np.random.default_rng(0)
    numeric = generator.normal(size=(num_rows, 4)).astype(np.float32)
    numeric[generator.random(numeric.shape) < 0.05] = np.nan
    codes = generator.integers(0, 30, (num_rows, 2)).astype(np.int32)
    answer = np.nan_to_num(numeric[:, 0]) + 2.0 * (codes[:, 0] % 7 == 3) + generator.normal(size=num_rows) * 0.3
    target = answer.astype(np.float32) if outputs == 1 else np.digitize(answer, [0.0, 1.5][: outputs - 1])

    def rows(part: slice) -> Rows:
        weight = generator.uniform(0.5, 2.0, len(target[part])) if weighted else None
        inputs = {"numeric": torch.from_numpy(numeric[part]), "categories": torch.from_numpy(codes[part])}
        return Rows(inputs, torch.from_numpy(target[part]), weight)

    loss = LossConfig(criterion, {"_target_": "torch.nn.Softmax"})
    whole = num_rows * 2 // 3
    return FitProblem(Trees(outputs), rows(slice(whole)), rows(slice(whole, None)), loss, seed=1, num_threads=1)


def last(estimator: BoostedTrees, given: FitProblem) -> FitCandidate:
    return list(estimator.fit(given))[-1]


@pytest.mark.parametrize(("outputs", "criterion"), [(1, SQUARES), (2, ENTROPY), (3, ENTROPY)])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_net_answers_as_lightgbm_does_in_pytorch_and_in_onnx(
    tmp_path: Path, outputs: int, criterion: dict[str, Any], weighted: bool
) -> None:
    given = problem(outputs, criterion, weighted=weighted)
    found = last(BoostedTrees(max_rounds=30), given)
    given.net.load_state_dict(found.state())
    inputs = given.validation.inputs
    logits = given.net(**inputs)
    answered, wanted = (logits.softmax(1), found.validation.softmax(1)) if outputs > 1 else (logits, found.validation)
    assert torch.allclose(answered, wanted, rtol=0, atol=1e-6)

    link: nn.Module = nn.Softmax(dim=-1) if outputs > 1 else Unscale(3.0, 2.0)
    loaded = LoadedNetwork(Network(given.net, INPUTS).eval(), link, {"inputs": INPUTS}, {}, "")
    export_onnx(loaded, tmp_path / "trees.onnx", opset=20)
    model, arrays = OnnxModel(tmp_path / "trees.onnx"), {name: x.numpy() for name, x in inputs.items()}
    scores = model.scores(arrays)
    assert np.abs(scores - loaded.predict(inputs).numpy()).max() < 1e-6
    assert np.array_equal(scores, model.scores(arrays, batch_rows=7))  # a row has the same bits in any batch


def test_it_is_what_lightgbm_itself_predicts() -> None:
    given = problem(1, SQUARES)
    found = last(BoostedTrees(max_rounds=20, learning_rate=0.1), given)
    columns, target = (
        np.concatenate([part.numpy().astype(np.float64) for part in given.train.inputs.values()], axis=1),
        given.train.target.numpy(),
    )
    settings = {"learning_rate": 0.1, "deterministic": True, "force_col_wise": True, "seed": 1, "num_threads": 1,
                "verbosity": -1, "objective": "regression"}  # fmt: skip
    data = lightgbm.Dataset(columns, target, categorical_feature=[4, 5], params={"verbosity": -1})
    theirs = lightgbm.train(settings, data, 20).predict(columns)
    given.net.load_state_dict(found.state())
    assert np.abs(given.net(**given.train.inputs).numpy() - theirs).max() < 1e-5


def test_the_same_problem_gives_the_same_trees() -> None:
    estimator = BoostedTrees(max_rounds=20, row_share=0.7, column_share=0.5)
    first, second = (last(estimator, problem(2, ENTROPY)).state() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_candidates_come_every_few_rounds_and_hold_so_many_trees() -> None:
    given = problem(3, ENTROPY)
    found = list(BoostedTrees(max_rounds=25, round_step=10).fit(given))
    assert [candidate.step for candidate in found] == [10, 20, 25]
    assert len(found[0].state()["roots"]) == 30


def test_a_table_that_no_split_improves_is_answered_by_its_mean() -> None:
    given = problem(1, SQUARES, num_rows=30)
    found = list(BoostedTrees(max_rounds=50).fit(given))
    assert len(found) == 1
    given.net.load_state_dict(found[0].state())
    answers = given.net(**given.validation.inputs)
    assert torch.allclose(answers, given.train.target.mean().expand_as(answers), atol=1e-6)


@pytest.mark.parametrize(
    ("criterion", "outputs", "objective"),
    [
        (SQUARES, 1, {"objective": "regression"}),
        ({"_target_": "torch.nn.HuberLoss"}, 1, {"objective": "huber", "alpha": 1.0}),
        ({"_target_": "torch.nn.PoissonNLLLoss", "log_input": True}, 1, {"objective": "poisson"}),
        ({"_target_": "torch.nn.HuberLoss", "delta": 2.0}, 1, {"objective": "huber", "alpha": 2.0}),
        (ENTROPY, 2, {"objective": "binary"}),
        (ENTROPY, 4, {"objective": "multiclass", "num_class": 4}),
        ({"_target_": "flywheel.learner.criterion.BinaryCrossEntropy"}, 1, {"objective": "binary"}),
        (
            {"_target_": "flywheel.learner.criterion.Quantile", "quantile": 0.9},
            1,
            {"objective": "quantile", "alpha": 0.9},
        ),
    ],
)
def test_the_loss_says_what_is_fitted(criterion: dict[str, Any], outputs: int, objective: dict[str, Any]) -> None:
    assert objective_of(criterion, outputs) == objective


@pytest.mark.parametrize(
    ("criterion", "outputs", "said"),
    [
        ({"_target_": "torch.nn.CTCLoss"}, 1, "CTCLoss"),
        ({**ENTROPY, "label_smoothing": 0.1}, 3, "CrossEntropyLoss with label_smoothing"),
        ({"_target_": "flywheel.learner.criterion.BinaryCrossEntropy"}, 3, "BinaryCrossEntropy"),
    ],
)
def test_a_loss_that_has_no_objective_is_refused(criterion: dict[str, Any], outputs: int, said: str) -> None:
    with pytest.raises(ConfigError, match=f"boosted trees cannot be fitted to {said}"):
        objective_of(criterion, outputs)


def test_targets_that_the_loss_does_not_go_with_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one target label is negative"):
        next(BoostedTrees().fit(problem(1, {"_target_": "torch.nn.PoissonNLLLoss"})))


def test_a_quantile_is_answered() -> None:
    given = problem(1, {"_target_": "flywheel.learner.criterion.Quantile", "quantile": 0.9}, num_rows=3000)
    found = last(BoostedTrees(max_rounds=100), given)
    assert (found.validation > given.validation.target).float().mean().item() == pytest.approx(0.9, abs=0.05)


def test_counts_are_fitted_by_the_logarithm_of_their_rate() -> None:
    given = problem(1, {"_target_": "torch.nn.PoissonNLLLoss"}, num_rows=3000)
    for rows in (given.train, given.validation):
        rows.target.copy_(torch.poisson(torch.exp(rows.target / 2), generator=torch.Generator().manual_seed(0)))
    found = last(BoostedTrees(max_rounds=50), given)
    given.net.load_state_dict(found.state())
    rates = Rate()(given.net(**given.validation.inputs))
    assert rates.mean().item() == pytest.approx(given.validation.target.mean().item(), rel=0.1)
    assert torch.allclose(rates.log(), found.validation, atol=1e-5)
    with pytest.raises(ValueError, match=r"preprocess\.target\.normalise: none"):
        Rate(mean=2.0)


def test_another_net_is_refused() -> None:
    given = problem(1, SQUARES)
    other = FitProblem(Linear(4, [30, 30], 1), given.train, given.validation, given.loss, 0, 1)
    with pytest.raises(ConfigError, match="model=boosted_trees"):
        next(BoostedTrees().fit(other))


@pytest.mark.parametrize("settings", [{"num_leaves": 1}, {"learning_rate": 0.0}, {"row_share": 0.0}, {"patience": -1}])
def test_settings_without_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="required"):
        BoostedTrees(**settings)

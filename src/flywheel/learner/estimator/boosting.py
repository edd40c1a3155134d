"""Gradient boosting of decision trees by LightGBM, whose trees become the arrays of `flywheel.model.trees.Trees`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flywheel.learner.estimator.base import Estimator, FitCandidate, FitProblem, Rows, cannot_fit, criterion_of
from flywheel.learner.estimator.tree_arrays import arrays
from flywheel.model.trees import Trees
from flywheel.project.errors import ConfigError

OBJECTIVES = {
    "CrossEntropyLoss": "multiclass", "BinaryCrossEntropy": "binary", "MSELoss": "regression",
    "L1Loss": "regression_l1", "HuberLoss": "huber", "PoissonNLLLoss": "poisson", "Quantile": "quantile",
}  # fmt: skip
"""LightGBM's objective for the class of a criterion."""
_ARGUMENTS = {"HuberLoss": ("delta", 1.0), "Quantile": ("quantile", 0.5), "PoissonNLLLoss": ("log_input", True)}
"""The argument that a criterion may have, and its default; the first two are LightGBM's `alpha`."""
_ALWAYS = {"deterministic": True, "force_col_wise": True, "verbosity": -1, "metric": "none"}


class BoostedTrees(Estimator):
    """LightGBM (Ke et al. 2017, NeurIPS), deterministic; categories and missing numbers are split as such.

    The number of trees is chosen by the monitored metric on validation.

    Args:
        max_rounds: Rounds of boosting at most; each adds a tree for each output.
        learning_rate: Share of a tree's answer that is added.
        num_leaves: Leaves of a tree at most.
        max_depth: Splits on the way to a leaf at most; -1: no limit.
        min_rows_leaf: Train rows of a leaf at least.
        min_hessian_leaf: Sum of the loss's second derivatives in a leaf at least.
        l1: Weight of the absolute answers of leaves in the loss.
        l2: Weight of half their squares.
        row_share: Share of the train rows that each tree is fitted on.
        column_share: Share of the columns that each tree may split.
        category_smoothing: Rows that are added to each category, at the mean, before categories are sorted for a split.
        round_step: Rounds between two measurements on validation.
        patience: Rounds without an improvement on validation after which it stops; 0: all rounds are made.
    """

    def __init__(
        self,
        max_rounds: int = 2000,
        learning_rate: float = 0.05,
        num_leaves: int = 31,
        max_depth: int = -1,
        min_rows_leaf: int = 20,
        min_hessian_leaf: float = 1e-3,
        l1: float = 0.0,
        l2: float = 0.0,
        row_share: float = 1.0,
        column_share: float = 1.0,
        category_smoothing: float = 10.0,
        round_step: int = 10,
        patience: int = 100,
    ) -> None:
        if not 1 <= round_step <= max_rounds or num_leaves < 2 or patience < 0:
            raise ValueError("1 <= round_step <= max_rounds, num_leaves >= 2 and patience >= 0 are required")
        if not learning_rate > 0 or not 0 < row_share <= 1 or not 0 < column_share <= 1:
            raise ValueError("learning_rate > 0, and row_share and column_share in (0, 1] are required")
        self._max_rounds, self._round_step = max_rounds, round_step
        self.num_candidates = -(-max_rounds // round_step)
        self.patience = -(-patience // round_step)
        self._settings = {
            "learning_rate": learning_rate, "num_leaves": num_leaves, "max_depth": max_depth,
            "min_data_in_leaf": min_rows_leaf, "min_sum_hessian_in_leaf": min_hessian_leaf, "lambda_l1": l1,
            "lambda_l2": l2, "bagging_fraction": row_share, "bagging_freq": int(row_share < 1),
            "feature_fraction": column_share, "cat_smooth": category_smoothing,
        }  # fmt: skip

    def fit(self, problem: FitProblem) -> Iterator[FitCandidate]:
        """Offer the trees so far, after every few rounds.

        Raises:
            ConfigError: The net is not `Trees`, or LightGBM cannot fit the loss, or the targets with it.
        """
        import lightgbm

        if not isinstance(problem.net, Trees):
            what = f"fits the trees of flywheel.model.trees.Trees, not {type(problem.net).__name__}"
            raise ConfigError(what, where="model.fit", fix="take `model=boosted_trees`")
        outputs = problem.net.num_outputs
        settings = objective_of(problem.loss.criterion, outputs)
        train = _dataset(problem, problem.train)
        validation = _dataset(problem, problem.validation, train)
        run = {"seed": problem.seed, "num_threads": problem.num_threads}
        try:
            booster = lightgbm.Booster({**self._settings, **settings, **run, **_ALWAYS}, train)
        except lightgbm.basic.LightGBMError as error:
            what = f"LightGBM cannot fit these targets: {error}"
            raise ConfigError(what, where="loss.criterion", fix="choose a loss for such targets") from None
        booster.add_valid(validation, "validation")

        def logits(measure: Callable[..., Any]) -> Tensor:
            found = _logits(measure, settings["objective"])
            two_classes = settings["objective"] == "binary" and outputs == 2
            return torch.stack([torch.zeros_like(found), found], dim=1) if two_classes else found

        for done in range(1, self._max_rounds + 1):
            ended = booster.update()
            if done % self._round_step == 0 or done == self._max_rounds or ended:
                rounds = booster.current_iteration()
                train_logits, validation_logits = (logits(booster.eval_train), logits(booster.eval_valid))
                yield FitCandidate(rounds, train_logits, validation_logits, partial(arrays, booster, rounds, outputs))
            if ended:  # no split gains anything
                return


def objective_of(criterion: Mapping[str, Any], num_outputs: int) -> dict[str, Any]:
    """LightGBM's objective for a criterion.

    Args:
        criterion: The node of the settings.
        num_outputs: Outputs of the net.

    Raises:
        ConfigError: There is none.
    """
    name, given = criterion_of(criterion)
    objective = OBJECTIVES.get(name)
    argument, default = _ARGUMENTS.get(name, ("", None))
    strange = given.keys() - {argument}
    if objective is None or strange or (objective == "binary" and num_outputs > 1):
        raise cannot_fit("boosted trees", name, sorted(strange))
    if objective == "multiclass":
        return {"objective": "binary"} if num_outputs == 2 else {"objective": objective, "num_class": num_outputs}
    alpha = {"alpha": given.get(argument, default)} if objective in ("huber", "quantile") else {}
    return {"objective": objective, **alpha}


def _dataset(problem: FitProblem, rows: Rows, reference: Any = None) -> Any:
    """The columns as `Trees` joins them: numbers, then codes of categories."""
    import lightgbm

    numeric, codes = rows.inputs.get("numeric"), rows.inputs.get("categories")
    columns = np.concatenate([part.numpy().astype(np.float64) for part in (numeric, codes) if part is not None], axis=1)
    num_numeric = 0 if numeric is None else numeric.shape[1]
    categories = list(range(num_numeric, columns.shape[1]))
    made = lightgbm.Dataset(
        columns, rows.target.numpy(), weight=rows.weight, reference=reference, categorical_feature=categories,
        params={**_ALWAYS, "num_threads": problem.num_threads},
    )  # fmt: skip
    return made.construct()


def _logits(measure: Callable[..., Any], objective: str) -> Tensor:
    """The logits of a data set that the booster holds; a metric of one's own is the public way to its predictions."""
    found: list[Any] = []

    def metric(predictions: Any, dataset: Any) -> tuple[str, float, bool]:
        found.append(predictions)
        return "none", 0.0, False

    measure(metric)
    raw = torch.from_numpy(np.array(found[0]))
    if objective == "binary":
        raw = torch.logit(raw, eps=1e-15)
    elif objective in ("multiclass", "poisson"):  # logits are free up to a number that is added to all of them
        raw = raw.clamp(min=1e-300).log()
    return raw.float()
